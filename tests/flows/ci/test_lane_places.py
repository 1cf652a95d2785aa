"""The lanes of CI in a project without Git, and under a signal, as of a CI service that cancels a job."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo

from flows.cli.main import main as inkflow
from tests.conftest import Toy, wait_until
from tests.flows.ci.test_lanes import no_ci, steps
from tests.support.root import ROOT

__all__ = ["no_ci"]  # fixture

SLOW = "stages: {slow: {cmd: 'echo > pid; exec sleep 600', deps: [in], outs: [out]}}\n"


@pytest.fixture
def without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a DVC project that is in no Git repository."""
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    Path("dvc.yaml").write_text("stages: {copy: {cmd: cp in out, deps: [in], outs: [out]}}\n")
    Path("in").write_text("one\n")
    return tmp_path


def test_lanes_without_git(without_git: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both lanes pass: their steps that ask Git are skipped with a sentence."""
    assert inkflow(["ci", "run", "--", "--no-server"]) == 0
    assert steps("run") == {"run": "passed", "gates": "skipped", "record": "skipped"}
    assert "skipped record   the project is in no Git repository" in capsys.readouterr().out
    assert inkflow(["ci", "check"]) == 0
    assert steps("check") == {"schema": "skipped", "secrets": "skipped", "lock": "passed", "remote": "skipped"}


def test_the_step_record_never_fails(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Where Git refuses to compare, the step is skipped with Git's own words."""
    toy.write({"dvc.yaml": "stages: {copy: {cmd: cp in out, deps: [in], outs: [out]}}\n", "in": "one\n"})
    (toy.folder / ".git/index").write_bytes(b"broken" * 20)
    inkflow(["ci", "run", "--", "--no-server"])
    assert steps("run")["record"] == "skipped" and "skipped record   git status: " in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.farm)])
def test_a_signal_ends_the_run_and_its_stages(toy: Toy, number: signal.Signals) -> None:
    """A signal to `inkflow ci run` alone leaves neither `inkflow run` nor a stage, and a next run can start."""
    toy.write({"dvc.yaml": SLOW, "in": "one\n"})
    command = [sys.executable, "-m", "flows", "ci", "run", "--", "--no-server"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL) as lane:
        wait_until(lambda: Path("pid").exists(), 120)
        children = psutil.Process(lane.pid).children(recursive=True)
        lane.send_signal(number)
        code = lane.wait(60)
    assert code == (130 if number == signal.SIGTERM else -signal.SIGKILL)
    assert len(children) >= 2  # `inkflow run` and the stage
    assert psutil.wait_procs(children, 30)[1] == []
