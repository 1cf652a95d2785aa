"""`inkflow verify`: which stages run again, and that nothing else changes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.main import main
from flows.core.errors import StageFailed
from stages.base.errors import InvalidInput
from tests.conftest import Toy, run_engine, wait_until
from tests.support.commands import dvc
from tests.support.dvc_calls import track
from tests.support.prepared import copy_prepared
from tests.support.root import ROOT

GRAPH = """
stages:
  exact:
    cmd: echo exact >> $INKFLOW_TEST_RUNS; cp in exact.txt
    deps: [in]
    outs: [exact.txt]
  reordered:
    cmd: echo reordered >> $INKFLOW_TEST_RUNS; python write.py reordered
    deps: [exact.txt, write.py]
    outs: [reordered.json]
  noisy:
    cmd: echo noisy >> $INKFLOW_TEST_RUNS; python write.py noisy
    deps: [exact.txt, write.py]
    metrics:
      - noisy.json:
          cache: false
  random:
    cmd: echo random >> $INKFLOW_TEST_RUNS; python write.py random
    deps: [reordered.json, write.py]
    outs: [random]
"""
WRITE = """
import json, os, pathlib, random, sys, time
name = sys.argv[1]
time.sleep(float(os.environ.get("INKFLOW_TEST_PAUSE", 0)))
if name == "reordered":
    keys = random.sample(range(50), 50)
    pathlib.Path("reordered.json").write_text(json.dumps({f"k{key}": key / 3 for key in keys}))
elif name == "noisy":
    pathlib.Path("noisy.json").write_text(json.dumps({"loss": 0.5 + 1e-9 * random.random(), "n": 3}))
else:
    pathlib.Path("random").mkdir()
    pathlib.Path("random/same.txt").write_text("same")
    pathlib.Path("random/numbers.json").write_text(json.dumps([1, random.random()]))
"""


def git(*arguments: str, folder: Path) -> str:
    """Runs git in the project and returns its output."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def make_verified(folder: Path) -> None:
    """Makes a committed project that is up to date."""
    toy = Toy(folder)
    toy.write({"dvc.yaml": GRAPH, "write.py": WRITE, "in": "one\n", "params.yaml": "{}\n"})
    toy.write({".gitignore": "/exact.txt\n/reordered.json\n/random\n/.inkflow\n"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKFLOW_TEST_RUNS", os.devnull)
        run_engine()
    git("add", "--all", folder=folder)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "begin", folder=folder)


class Verified(Toy):
    """A copy of that project, whose stages log their runs in a file outside of it."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self._log = copy_prepared(make_verified, folder), log

    def runs_again(self) -> list[str]:
        """Returns the names of the stages that ran since the project was created."""
        return sorted(self._log.read_text().split()) if self._log.exists() else []

    def state(self) -> tuple[dict[str, bytes], str]:
        """Returns the bytes of every file outside of git's and DVC's internal folders, and git's status."""
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.relative_to(self.folder).parts[:2] not in {(".dvc", "tmp")}
            if path.relative_to(self.folder).parts[0] not in {".git", ".inkflow"}
        }
        return files, git("status", "--porcelain", folder=self.folder)

    def left_behind(self) -> list[str]:
        """Returns the clean folders that still exist."""
        return [path.name for path in (self.folder / ".dvc/tmp/inkflow").glob("*") if (path / ".git").exists()]


@pytest.fixture
def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verified]:
    """The project, which is also the current folder; restores the signal handlers afterwards."""
    folder = tmp_path / "verified"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INKFLOW_TEST_RUNS", str(tmp_path / "runs"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Verified(folder, tmp_path / "runs")
    for number, handler in handlers.items():
        signal.signal(number, handler)


def verdicts(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Returns the verdicts that `--json` printed, by output."""
    return {row["output"]: row["verdict"] for row in json.loads(capsys.readouterr().out)["outputs"]}


def test_everything(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage runs again although the cache has its outputs; each gets a verdict; the workspace is unchanged."""
    before = verified.state()
    assert main(["verify", "--json"]) == 1
    assert verdicts(capsys) == {
        "exact.txt": "same bytes",
        "reordered.json": "same values",
        "noisy.json": "within tolerance",
        "random": "different",
    }
    assert verified.runs_again() == ["exact", "noisy", "random", "reordered"]
    assert (verified.state(), verified.left_behind()) == (before, [])


@pytest.mark.farm
def test_named_stages_alone(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the named stages run, on the inputs in the workspace; stages between them keep their outputs."""
    assert main(["verify", "exact", "noisy", "--json"]) == 0
    assert verdicts(capsys) == {"exact.txt": "same bytes", "noisy.json": "within tolerance"}
    assert verified.runs_again() == ["exact", "noisy"]
    assert main(["verify", "exact", "random", "--json"]) == 1
    assert verified.runs_again() == ["exact", "exact", "noisy", "random"]
    assert main(["verify", "noisy", "--tolerance", "1e-15", "--json"]) == 1


def test_table(verified: Verified, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has a line for each output, the largest difference, and counts; no word is broken."""
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["verify", "exact", "random"]) == 1
    output = capsys.readouterr().out
    assert "numbers.json: [1]: differs by" in output
    assert "  same bytes        exact.txt\n" in output
    assert "2 outputs: 1 same bytes, 1 different" in output


def test_uncommitted_and_untracked_inputs(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Stages run on the workspace as it is, with uncommitted edits and untracked inputs."""
    graph = GRAPH.replace("deps: [in]", "deps: [in, notes]").replace("cp in exact.txt", "cat in notes > exact.txt")
    verified.write({"in": "edited\n", "notes": "untracked\n", "dvc.yaml": graph})
    run_engine("exact")
    assert main(["verify", "exact", "--json"]) == 0
    assert verdicts(capsys) == {"exact.txt": "same bytes"}


def test_no_stage_gets_the_output_of_another_one(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage whose recorded output equals one that ran before it runs too: it may give another one now."""
    check = "[ -e broken ] && echo broken || echo ok\n"
    first = "{cmd: echo first >> $INKFLOW_TEST_RUNS; echo ok > a.ok, deps: [in], outs: [a.ok]}"
    second = "{cmd: echo second >> $INKFLOW_TEST_RUNS; sh check.sh > b.ok, deps: [check.sh, a.ok], outs: [b.ok]}"
    verified.write({"dvc.yaml": f"stages: {{first: {first}, second: {second}}}\n", "check.sh": check})
    assert run_engine().error is None
    verified.write({"broken": ""})
    git("add", "--all", folder=verified.folder)
    (verified.folder.parent / "runs").unlink()
    assert main(["verify", "--json"]) == 1
    assert verdicts(capsys) == {"a.ok": "same bytes", "b.ok": "different"}
    assert verified.runs_again() == ["first", "second"]


@pytest.mark.farm
def test_data_and_frozen_stages_are_inputs(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Data that DVC tracks and frozen stages do not run; the stages that read them do."""
    git("rm", "-q", "--cached", "in", folder=verified.folder)
    track("in")
    verified.write({"dvc.yaml": GRAPH.replace("    deps: [in]", "    frozen: true\n    deps: [in]", 1)})
    assert main(["verify", "--json"]) == 1
    assert set(verdicts(capsys)) == {"reordered.json", "noisy.json", "random"}
    assert verified.runs_again() == ["noisy", "random", "reordered"]


def test_without_git_in_dvc(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """A project is verified although DVC does not use git and git tracks no file of the folder .dvc."""
    dvc("config", "core.no_scm", "true")
    git("rm", "-r", "--quiet", "--cached", ".dvc", folder=verified.folder)
    assert main(["verify", "exact", "--json"]) == 0
    assert verdicts(capsys) == {"exact.txt": "same bytes"}


def test_workspace_must_be_up_to_date(verified: Verified) -> None:
    """Outputs of other inputs are an error of one sentence that names the command to run; no stage runs."""
    verified.write({"in": "edited\n"})
    with pytest.raises(InvalidInput, match=r"not up to date.*: exact; `inkflow run exact` first, then verify"):
        main(["verify", "exact"])
    assert verified.runs_again() == []


def test_failure(verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a stage fails in the second run, its own message is reported and no folder is left."""
    monkeypatch.setenv("INKFLOW_TEST_PAUSE", "soon")
    before = verified.state()
    with pytest.raises(StageFailed, match=r"noisy failed .*could not convert"):
        main(["verify", "noisy"])
    assert (verified.state(), verified.left_behind()) == (before, [])


def test_interrupt(verified: Verified) -> None:
    """Ctrl-C ends the running stages and removes the clean folder; the workspace does not change."""
    before = verified.state()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "INKFLOW_TEST_PAUSE": "300"}
    command = [sys.executable, "-m", "flows", "verify"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as verify:
        wait_until(lambda: "noisy" in verified.runs_again() or "reordered" in verified.runs_again(), timeout_s=60)
        verify.send_signal(signal.SIGINT)
        _, errors = verify.communicate(timeout=240)
    assert (verify.returncode, errors) == (130, "interrupted\n")
    assert (verified.state(), verified.left_behind()) == (before, [])
