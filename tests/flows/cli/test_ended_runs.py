"""`inkflow run` that is refused before a stage ran, that fails in the middle, or that is interrupted: what stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.main import main
from flows.core.errors import CannotBeSent, UnknownStage
from tests.conftest import Toy, wait_until
from tests.support.dvc_calls import add_remote
from tests.support.root import ROOT

GRAPH = """
stages:
  a: {cmd: echo >> a.runs; cp params.yaml a, params: [speed], outs: [a]}
  b: {cmd: echo >> b.runs; sleep 600; cp a b, deps: [a], outs: [b]}
"""


@pytest.fixture
def store(toy: Toy, tmp_path: Path) -> Path:
    """The DVC remote of a project in which one stage depends on the other."""
    toy.write({"dvc.yaml": GRAPH, "params.yaml": "speed: 1\n"})
    add_remote(tmp_path / "store")
    return tmp_path / "store"


def contents(folder: Path) -> set[str]:
    """Returns the texts of all files below `folder`."""
    return {path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_refused_in_the_middle(toy: Toy, store: Path) -> None:
    """A stage that cannot be sent to its pool fails like others: the parameters stay, and what ran is pushed."""
    toy.write({"execution.yaml": "stages: {b: {pool: gpu}}\n"})
    run = ["run", "--no-server", "--push", "--set"]
    with pytest.raises(UnknownStage):
        main([*run, "speed=3", "nothing"])
    assert (toy.read("params.yaml"), toy.runs("a"), contents(store)) == ("speed: 1\n", 0, set())
    with pytest.raises(CannotBeSent):
        main([*run, "speed=2"])
    assert (toy.read("params.yaml"), toy.read("a"), toy.runs("a")) == ("speed: 2\n", "speed: 2\n", 1)
    assert "speed: 2\n" in contents(store)


def test_interrupted_push(toy: Toy, store: Path) -> None:
    """Ctrl-C ends `inkflow run --push` at once: nothing is uploaded."""
    command = [sys.executable, "-m", "flows", "run", "--no-server", "--push"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as process:
        try:
            wait_until((toy.folder / "b.runs").exists, timeout_s=60)
            process.send_signal(signal.SIGINT)
            shown = process.communicate(timeout=240)[0].decode()
        finally:
            process.kill()
    assert (process.returncode, contents(store)) == (130, set())
    assert "1 of 2 stages ran, 1 interrupted: b, in" in shown
