"""`inkflow sweep`: runs combinations in parallel, records each as a DVC experiment, leaves the workspace unchanged."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.dvc_repo.experiments import ProjectClones
from flows.experiments.grid import Combination, parse_combinations
from stages.base.errors import InvalidInput
from tests.conftest import Inkflow, Toy, wait_until
from tests.flows.test_pipeline import finished_run
from tests.support.root import ROOT

RUNS = "INKFLOW_TEST_RUNS"  # folder with a file for each stage, to which each run appends a line

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


class SweepProject(Toy):
    """A committed project with parameters to sweep over, whose stages count their runs outside of it."""

    def __init__(self, folder: Path, counts: Path) -> None:
        super().__init__(folder)
        self.counts = counts
        self.write({"dvc.yaml": GRAPH, "params.yaml": PARAMS, "score.sh": SCORE, "in": "one\n"})
        self.write({".gitignore": "/out\n/scaled\n/.inkflow\n"})
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "begin")

    def git(self, *arguments: str) -> str:
        """Run git and return its output."""
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def dvc(self, *arguments: str) -> str:
        """Run DVC and return its output."""
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def ran(self, stage: str) -> int:
        """Return how often a stage ran, in all clones together."""
        path = self.counts / stage
        return len(path.read_text().splitlines()) if path.exists() else 0

    def contents(self) -> dict[str, bytes]:
        """Return the content of each file in the workspace, except those of DVC and git."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.relative_to(self.folder).parts[0] not in {".git", ".dvc"}
        }

    def remaining_clones(self) -> list[str]:
        """Return the names of clones that were not removed."""
        return [path.name for path in (self.folder / ".dvc/tmp/inkflow").glob("trial-*")]

    def experiments(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `dvc exp show`, by the experiment's name."""
        rows = csv.DictReader(self.dvc("exp", "show", "--csv").splitlines())
        return {row["Experiment"]: row for row in rows if row["Experiment"]}


@pytest.fixture
def sweep_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SweepProject]:
    """The project, which is the current folder."""
    folder, counts = tmp_path / "project", tmp_path / "counts"
    folder.mkdir()
    counts.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(RUNS, str(counts))
    yield SweepProject(folder, counts)


@pytest.mark.server
def test_grid_as_experiments(sweep_project: SweepProject, inkflow: Inkflow, prefect_url: str) -> None:
    """Each cell is an experiment with its metrics and a task with its output; shared stages run once; the workspace
    does not change.
    """
    sweep_project.write({"in": "edited\n", "notes.txt": "untracked\n"})
    before, status = sweep_project.contents(), sweep_project.git("status", "--porcelain")
    done = inkflow(
        "sweep", "--grid", "scale.by=2,3", "--grid", "score.plus=10,20", "--jobs", "4", folder=sweep_project.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (sweep_project.ran("source"), sweep_project.ran("scale"), sweep_project.ran("score")) == (1, 2, 4)
    assert (sweep_project.contents(), sweep_project.git("status", "--porcelain")) == (before, status)
    assert sweep_project.remaining_clones() == []
    experiments = sweep_project.experiments()
    assert {name: row["score"] for name, row in experiments.items()} == {
        "by=2,plus=10": "12", "by=2,plus=20": "22", "by=3,plus=10": "13", "by=3,plus=20": "23",
    }  # fmt: skip
    assert "by=3,plus=20  ran" in done.stdout
    run = finished_run(prefect_url, 4)
    wait_until(lambda: any("sh score.sh 20" in line for line in run.log("scale.by=3 score.plus=20")), timeout_s=30)


@pytest.mark.server
def test_second_sweep_restores(sweep_project: SweepProject, inkflow: Inkflow) -> None:
    """Combinations of an earlier sweep are restored and run no command; new ones beside them run."""
    inkflow("sweep", "--grid", "scale.by=2,3", folder=sweep_project.folder)
    again = inkflow("sweep", "--grid", "scale.by=2,3,4", "--json", folder=sweep_project.folder)
    assert again.returncode == 0, again.stderr
    assert (sweep_project.ran("source"), sweep_project.ran("scale"), sweep_project.ran("score")) == (1, 3, 3)
    trials = json.loads(again.stdout)["trials"]
    assert [trial["state"] for trial in trials] == ["restored", "restored", "ran"]
    assert trials[2]["metrics"] == {"score.json": {"score": 4}}
    assert trials[2]["combination"] == {"scale.by": 4}


@pytest.mark.server
def test_apply(sweep_project: SweepProject, inkflow: Inkflow) -> None:
    """`dvc exp apply` restores parameters with comments, dvc.lock and outputs; then `inkflow run` has nothing to do."""
    inkflow("sweep", "--list", "scale.by=5 score.plus=7", folder=sweep_project.folder)
    sweep_project.dvc("exp", "apply", "by=5,plus=7")
    assert sweep_project.read("params.yaml") == PARAMS.replace("by: 1", "by: 5").replace("plus: 0", "plus: 7")
    assert json.loads(sweep_project.read("score.json")) == {"score": 12}
    assert sweep_project.read("scaled") == "5\n"
    assert "Nothing to do" in inkflow("run", folder=sweep_project.folder).stdout


@pytest.mark.server
def test_failure_does_not_stop_others(sweep_project: SweepProject, inkflow: Inkflow) -> None:
    """A failed combination is reported with its error and is no experiment; the others run."""
    done = inkflow("sweep", "--grid", "score.plus=13,14", "--jobs", "1", folder=sweep_project.folder)
    assert done.returncode == 1
    assert "failed: score.plus=13: score failed (exit code 1): unlucky" in done.stdout
    assert set(sweep_project.experiments()) == {"plus=14"}
    assert "Traceback" not in done.stdout + done.stderr
    assert sweep_project.remaining_clones() == []


@pytest.mark.server
def test_interrupt(sweep_project: SweepProject, prefect_url: str, tmp_path: Path) -> None:
    """Ctrl-C terminates running trials, removes the clones, and leaves the workspace unchanged."""
    before, status = sweep_project.contents(), sweep_project.git("status", "--porcelain")
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows", "sweep", "--grid", "pause=300,301", "--jobs", "2"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweep:
        wait_until(lambda: sweep_project.ran("scale") == 2, timeout_s=60)
        sweep.send_signal(signal.SIGINT)
        out, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, out
    assert (sweep_project.contents(), sweep_project.git("status", "--porcelain")) == (before, status)
    assert sweep_project.remaining_clones() == []
    assert sweep_project.experiments() == {}
    assert subprocess.run(["pgrep", "-f", "sleep 30[01]"], check=False).returncode == 1


def test_clone_is_a_snapshot(sweep_project: SweepProject) -> None:
    """A clone has the uncommitted changes of the moment when the sweep started, and no later ones."""
    sweep_project.write({"score.sh": "edited"})
    clones = ProjectClones(sweep_project.folder)
    sweep_project.write({"score.sh": "edited once more"})
    with clones.clone("trial-0") as clone:
        assert (clone / "score.sh").read_text() == "edited"
        assert (clone / "in").read_text() == "one\n"
    assert sweep_project.read("score.sh") == "edited once more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: nothing to sweep over; name values, for example --grid models.cnn.batch_size=32,128"),
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
def test_invalid_arguments(sweep_project: SweepProject, arguments: list[str], message: str) -> None:
    """An invalid argument causes one sentence and exit code 2 before a stage runs."""
    command = [sys.executable, "-m", "flows", "sweep", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert sweep_project.ran("source") == 0


def test_no_commit_yet(toy: Toy) -> None:
    """A project without a commit causes an error: DVC stores experiments on a commit."""
    with pytest.raises(InvalidInput, match="there is none yet; commit first"):
        ProjectClones(toy.folder)


def test_combinations(tmp_path: Path) -> None:
    """Combinations are those listed and those in a file, each with each cell of the grid, in that order, each once."""
    file = tmp_path / "some"
    file.write_text("# two of them\na=1\n\na=2 c.d=x\na=1\n")
    settings = [dict(combination.settings) for combination in parse_combinations(["b=[1, 2],[3]"], ["a=1"], file)]
    assert settings == [
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
    """A combination is named by its settings; its experiment by the last parts of the keys, if these are distinct."""
    assert (Combination(settings).name, Combination(settings).experiment) == (name, experiment)


def test_unsafe_names_stay_distinct() -> None:
    """Characters that a git reference cannot hold are replaced, and a digest keeps such names distinct."""
    one, other = (Combination({"m.units": units}).experiment for units in ([4, 8], [[4], 8]))
    assert one != other
    for name in (one, other, Combination({"k": "a" * 300}).experiment, Combination({"k": "a..b~/@{.lock"}).experiment):
        subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=True)
        assert len(name) < 120
