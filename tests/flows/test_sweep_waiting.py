"""A sweep that waits for another one in the same clone: it can be interrupted, and its time has not begun."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.core.file_lock import run_lock
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.engine.display.plain import Display
from flows.experiments.grid import parameter_keys, parse_combinations
from flows.experiments.sweep_runner import SweepRunner
from flows.experiments.trials import GridTrials
from tests.conftest import wait_until
from tests.flows.engine.test_interruption import cancel_running_flow
from tests.flows.test_search import SearchProject, project
from tests.flows.test_sweep import sweep_project
from tests.support.root import ROOT
from tests.support.sweep_project import SweepProject

__all__ = ["project", "sweep_project"]  # fixtures

WAITING = "Another run is under way"


class Notes(Display):
    """Keeps the notes of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keeps a note."""
        self.notes.append(text)

    def is_waiting(self) -> bool:
        """Returns whether the run has said that it waits."""
        return any(WAITING in text for text in self.notes)


@contextmanager
def other_sweep(root: Path) -> Iterator[None]:
    """Holds what a sweep holds that runs in the project."""
    folder = ProjectClones(root).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trial-0").mkdir()
    with run_lock(folder, print):
        yield
        assert (folder / "trial-0").is_dir()  # no other sweep has removed the clone
    (folder / "trial-0").rmdir()


def interrupt_wait(runner: SweepRunner, display: Notes) -> None:
    """Interrupts a sweep once it waits for another one; it ends while that one goes on."""
    wait_until(display.is_waiting, timeout_s=60)
    interrupting = threading.Thread(target=runner.interrupt, daemon=True)
    interrupting.start()
    interrupting.join(60)
    assert not interrupting.is_alive()


def test_an_interrupt_ends_the_wait(sweep_project: SweepProject) -> None:
    """A sweep that waits for another one ends when it is interrupted, and not when the other one ends."""
    root, display = sweep_project.folder, Notes()
    source = GridTrials(parse_combinations(["scale.by=2,3"], [], None), parameter_keys(root))
    runner = SweepRunner(root, source, [], 2, display)
    with other_sweep(root):
        runner.start()
        interrupt_wait(runner, display)
        assert [trial.state for trial in runner.trials] == ["not run"] * 2 and runner.is_interrupted
    assert runner.crash is None and sweep_project.ran("source") == 0


def test_an_interrupt_ends_the_wait_of_a_search(project: SearchProject) -> None:
    """A search that waits begins no trial of its study when it is interrupted."""
    search, runner = project.prepare("--space", "space.yaml:x=1..9:int", "--jobs", "1")
    runner.display = display = Notes()
    with other_sweep(project.folder):
        runner.start()
        interrupt_wait(runner, display)
    assert runner.is_interrupted and search.study.trials() == [] == search.trials


@pytest.mark.farm
def test_the_time_of_a_search_begins_after_the_wait(project: SearchProject) -> None:
    """A search that waits for longer than its `--timeout` runs its trials afterwards."""
    search, runner = project.prepare(
        "--space", "space.yaml:x=1..9:int", "--timeout", "3s", "--trials", "1", "--jobs", "1"
    )
    runner.display = display = Notes()
    with other_sweep(project.folder):
        runner.start()
        wait_until(display.is_waiting, timeout_s=60)
        time.sleep(3.5)
    runner.close()
    search.study.close()
    assert [trial.state for trial in search.trials] == ["ran"]


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM", "Prefect"])
@pytest.mark.parametrize("kind", ["grid", "search"])
def test_the_command_ends_while_it_waits(
    project: SearchProject, prefect_url: str, tmp_path: Path, kind: str, by: str
) -> None:
    """Ctrl-C, SIGTERM and a cancellation in Prefect end a waiting `inkflow sweep` with exit code 130."""
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    search = ["--search", "random", "--objective", "m.json:val_loss", "--space", "space.yaml:x=1..9:int"]
    command = [sys.executable, "-m", "flows", "sweep", *(search if kind == "search" else ["--grid", "space.yaml:x=1"])]
    with (
        other_sweep(project.folder),
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as sweep,
    ):
        assert sweep.stdout is not None
        try:
            assert any(WAITING in line for line in sweep.stdout)
            cancel_running_flow(prefect_url, "sweep") if by == "Prefect" else sweep.send_signal(signal.Signals[by])
            output, _ = sweep.communicate(timeout=120)
        finally:
            sweep.kill()
    assert sweep.returncode == 130, output
    assert project.starts() == [] and project.experiments() == []
