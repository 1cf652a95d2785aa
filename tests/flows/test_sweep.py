"""`inkflow sweep`: combinations side by side, each a DVC experiment, and a workspace that nobody touched."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.experiments.grid import Combination, combinations
from stages.base.errors import InvalidInput
from tests.conftest import Inkflow, Toy, wait_until
from tests.support.root import ROOT

RUNS = "INKFLOW_TEST_RUNS"  # folder in which each run of a stage leaves a line

GRAPH = """
stages:
  source:
    cmd: echo >> $INKFLOW_TEST_RUNS/source; cp in out
    deps: [in]
    outs: [out]
  scale:
    cmd: echo >> $INKFLOW_TEST_RUNS/scale; sleep ${pause}; echo ${scale.by} > scaled
    deps: [out]
    params: [scale]
    outs: [scaled]
  score:
    cmd: sh score.sh ${score.plus}
    deps: [scaled, score.sh]
    params: [score]
    metrics:
      - score.json:
          cache: false
"""
SCORE = """
set -e
echo >> $INKFLOW_TEST_RUNS/score
test $1 != 13 || { echo error: unlucky; exit 1; }
echo "{\\"score\\": $(( $(cat scaled) + $1 ))}" > score.json
"""
PARAMS = "pause: 0\nscale:\n  by: 1 # as it was\nscore: {plus: 0}\n"


class Swept(Toy):
    """A committed project with numbers to sweep over, whose stages count their runs outside of it."""

    def __init__(self, folder: Path, counts: Path) -> None:
        super().__init__(folder)
        self.counts = counts
        self.write({"dvc.yaml": GRAPH, "params.yaml": PARAMS, "score.sh": SCORE, "in": "one\n"})
        self.write({".gitignore": "/out\n/scaled\n/.inkflow\n"})
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "begin")

    def git(self, *arguments: str) -> str:
        """What git prints."""
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def dvc(self, *arguments: str) -> str:
        """What DVC prints."""
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def ran(self, stage: str) -> int:
        """How often a stage ran, in whatever clone."""
        path = self.counts / stage
        return len(path.read_text().splitlines()) if path.exists() else 0

    def contents(self) -> dict[str, bytes]:
        """Every file of the workspace, but for what DVC and git keep."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.relative_to(self.folder).parts[0] not in {".git", ".dvc"}
        }

    def left_behind(self) -> list[str]:
        """Clones that still lie there."""
        return [path.name for path in (self.folder / ".dvc/tmp/inkflow").glob("trial-*")]

    def experiments(self) -> dict[str, dict[str, Any]]:
        """Rows of `dvc exp show`, by the experiment's name."""
        import csv

        rows = csv.DictReader(self.dvc("exp", "show", "--csv").splitlines())
        return {row["Experiment"]: row for row in rows if row["Experiment"]}


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swept]:
    """The project, which is also the current folder."""
    folder, counts = tmp_path / "swept", tmp_path / "counts"
    folder.mkdir()
    counts.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(RUNS, str(counts))
    yield Swept(folder, counts)


@pytest.mark.server
def test_grid_as_experiments(swept: Swept, inkflow: Inkflow) -> None:
    """Each cell is an experiment with its metrics; shared stages run once; the workspace keeps its bytes."""
    swept.write({"in": "edited\n", "notes.txt": "untracked\n"})
    before, status = swept.contents(), swept.git("status", "--porcelain")
    done = inkflow("sweep", "--grid", "scale.by=2,3", "--grid", "score.plus=10,20", "--jobs", "4", folder=swept.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (swept.ran("source"), swept.ran("scale"), swept.ran("score")) == (1, 2, 4)
    assert (swept.contents(), swept.git("status", "--porcelain")) == (before, status)
    assert swept.left_behind() == []
    shown = swept.experiments()
    assert {name: row["score"] for name, row in shown.items()} == {
        "by=2,plus=10": "12", "by=2,plus=20": "22", "by=3,plus=10": "13", "by=3,plus=20": "23",
    }  # fmt: skip
    assert "by=3,plus=20  ran" in done.stdout


@pytest.mark.server
def test_again_is_restored(swept: Swept, inkflow: Inkflow) -> None:
    """What was tried before runs no command again, also beside what is new."""
    inkflow("sweep", "--grid", "scale.by=2,3", folder=swept.folder)
    again = inkflow("sweep", "--grid", "scale.by=2,3,4", "--json", folder=swept.folder)
    assert again.returncode == 0, again.stderr
    assert (swept.ran("source"), swept.ran("scale"), swept.ran("score")) == (1, 3, 3)
    trials = json.loads(again.stdout)["trials"]
    assert [trial["state"] for trial in trials] == ["restored", "restored", "ran"]
    assert trials[2]["metrics"] == {"score.json": {"score": 4}}
    assert trials[2]["combination"] == {"scale.by": 4}


@pytest.mark.server
def test_apply(swept: Swept, inkflow: Inkflow) -> None:
    """All of what `dvc exp apply` brings is there: parameters with their comments, dvc.lock, outputs; nothing to do."""
    inkflow("sweep", "--list", "scale.by=5 score.plus=7", folder=swept.folder)
    swept.dvc("exp", "apply", "by=5,plus=7")
    assert swept.read("params.yaml") == PARAMS.replace("by: 1", "by: 5").replace("plus: 0", "plus: 7")
    assert json.loads(swept.read("score.json")) == {"score": 12}
    assert swept.read("scaled") == "5\n"
    assert "Nothing to do" in inkflow("run", folder=swept.folder).stdout


@pytest.mark.server
def test_failure_stops_no_other(swept: Swept, inkflow: Inkflow) -> None:
    """A combination that fails is named with its own sentence and is no experiment; the others are tried."""
    done = inkflow("sweep", "--grid", "score.plus=13,14", "--jobs", "1", folder=swept.folder)
    assert done.returncode == 1
    assert "failed: score.plus=13: score failed (exit code 1): unlucky" in done.stdout
    assert set(swept.experiments()) == {"plus=14"}
    assert "Traceback" not in done.stdout + done.stderr
    assert swept.left_behind() == []


@pytest.mark.server
def test_interrupt(swept: Swept, prefect_url: str, tmp_path: Path) -> None:
    """Ctrl-C ends what runs, removes the clones and leaves the workspace as it was."""
    before, status = swept.contents(), swept.git("status", "--porcelain")
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows", "sweep", "--grid", "pause=300,301", "--jobs", "2"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweep:
        wait_until(lambda: swept.ran("scale") == 2, timeout_s=60)
        sweep.send_signal(signal.SIGINT)
        out, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, out
    assert (swept.contents(), swept.git("status", "--porcelain")) == (before, status)
    assert swept.left_behind() == []
    assert swept.experiments() == {}
    assert subprocess.run(["pgrep", "-f", "sleep 30[01]"], check=False).returncode == 1


def test_modules_of_the_clone(swept: Swept) -> None:
    """A stage's Python modules are the clone's own: the edited ones, not those that somebody edits meanwhile."""
    from flows.dvc_repo.experiments import Experiments

    swept.write({"score.sh": "edited"})
    experiments = Experiments(swept.folder)
    swept.write({"score.sh": "edited once more"})
    with experiments.clone("trial-0") as clone:
        assert (clone / "score.sh").read_text() == "edited"
        assert (clone / "in").read_text() == "one\n"
    assert swept.read("score.sh") == "edited once more"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "error: nothing to sweep over; say what, for example --grid models.cnn.batch_size=32,128"),
        (["--grid", "scale.by"], "error: --grid scale.by: expected KEY=V1,V2"),
        (["--grid", "scale.by=[1"], "error: --grid scale.by=[1: '[1' are not YAML values"),
        (
            ["--grid", "scal.by=1,2"],
            "error: scal.by=1: scal.by: there is no key 'scal'; did you mean 'scale'? known: pause, scale, score",
        ),
        (["--list", "scale.by"], "error: combination 'scale.by': scale.by: expected KEY=VALUE"),
        (["--grid", "scale.by=1", "--grid", "scale.by=2"], "error: --grid: a key is given twice"),
        (["--grid", "scale.by=1", "--list", "scale.by=2"], "error: scale.by is both in --grid and in --list"),
        (["--from", "nowhere.txt"], "error: --from"),
        (["scor", "--grid", "scale.by=1"], "error: unknown stage 'scor'; did you mean 'score'?"),
    ],
)
def test_typos(swept: Swept, arguments: list[str], said: str) -> None:
    """A mistake is one sentence and exit code 2 before anything runs."""
    command = [sys.executable, "-m", "flows", "sweep", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert swept.ran("source") == 0


def test_no_commit_yet(toy: Toy) -> None:
    """Without a commit there is nothing that experiments could belong to: one sentence."""
    from flows.dvc_repo.experiments import Experiments

    with pytest.raises(InvalidInput, match="there is none yet; commit first"):
        Experiments(toy.folder)


def test_combinations(tmp_path: Path) -> None:
    """Listed combinations and those of a file times the cells of the grid, in that order, each once."""
    file = tmp_path / "some"
    file.write_text("# two of them\na=1\n\na=2 c.d=x\na=1\n")
    found = [dict(each.settings) for each in combinations(["b=[1, 2],[3]"], ["a=1"], file)]
    assert found == [
        {"a": 1, "b": [1, 2]}, {"a": 1, "b": [3]}, {"a": 2, "c.d": "x", "b": [1, 2]}, {"a": 2, "c.d": "x", "b": [3]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name", "experiment"),
    [
        ({"m.lr": 0.001, "m.size": 32}, "m.lr=0.001 m.size=32", "lr=0.001,size=32"),
        ({"m.lr": 1, "n.lr": 2}, "m.lr=1 n.lr=2", "m.lr=1,n.lr=2"),
        ({"m.on": True, "m.x": None}, "m.on=true m.x=null", "on=true,x=null"),
    ],
)
def test_names(settings: dict[str, Any], name: str, experiment: str) -> None:
    """A combination is named by its settings; its experiment by the short keys where those are enough."""
    assert (Combination(settings).name, Combination(settings).experiment) == (name, experiment)


def test_odd_names_stay_apart() -> None:
    """Values that a git reference cannot hold are replaced, and a digest keeps such names apart."""
    one, other = (Combination({"m.units": units}).experiment for units in ([4, 8], [[4], 8]))
    assert one != other
    for name in (one, other, Combination({"k": "a" * 300}).experiment, Combination({"k": "a..b~/@{.lock"}).experiment):
        subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=True)
        assert len(name) < 120
