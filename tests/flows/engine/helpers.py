"""Helpers for the tests of the engine: plans, DVC's own status, and copies of a project for `dvc repro`."""

import shutil
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo

from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import SilentDisplay
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.processes.command_runner import MARK
from flows.engine.run import Run
from flows.engine.types import Outcome, Result
from tests.conftest import run_engine
from tests.support import commands

OUTCOMES = {
    Verdict.UNCHANGED: Outcome.UNCHANGED,
    Verdict.RESTORE: Outcome.RESTORED,
    Verdict.RECORD: Outcome.RECORDED,
    Verdict.RUN: Outcome.RAN,
}
ALWAYS_CHANGED = ["always changed"]  # the state that `dvc status` reports for a stage that always runs


class RecordingDisplay(SilentDisplay):
    """Keeps the notes on the run and the lines of its stages."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keeps `text`."""
        self.notes.append(text)

    def line(self, stage: str, text: str) -> None:
        """Keeps a line of a stage."""
        self.lines.append(text)


def make_plan(*, force: bool = False) -> dict[str, Decision]:
    """Returns the plan for the project in the current folder, by stage."""
    with Repository() as repository:
        return {decision.stage: decision for decision in plan(repository.facts(), repository.cache, force=force)}


def run_as_planned(jobs: int = 4) -> dict[str, Result]:
    """Plans and runs, fails if the run differs from the plan, and returns the results by stage."""
    decisions = make_plan()
    results = succeeded(run_engine(jobs=jobs))
    assert set(results) == set(decisions)
    for name, decision in decisions.items():
        if decision.verdict is not Verdict.MAY_RUN:
            assert results[name].outcome is OUTCOMES[decision.verdict], f"{decision} but {results[name]}"
    return results


def succeeded(run: Run) -> dict[str, Result]:
    """Returns the results of a run by stage; fails if a stage failed."""
    assert not run.errors, run.errors
    assert not run.not_run
    return {result.stage: result for result in run.results}


def errors_of(text: str) -> list[str]:
    """Returns the lines of standard error, without the one of a machine too slow to display all lines in time."""
    return [line for line in text.splitlines() if "lines of output were left out" not in line]


def outcomes(results: Mapping[str, Result]) -> dict[str, Outcome]:
    """Returns the outcome of each stage, without the reasons."""
    return {name: result.outcome for name, result in results.items()}


def status() -> dict[str, Any]:
    """Returns the result of `dvc status` in the current folder, without stages that always run."""
    with Repo() as repo:
        states: dict[str, Any] = repo.status()
    return {name: state for name, state in states.items() if state != ALWAYS_CHANGED}


def locks(folder: Path) -> dict[str, str]:
    """Returns the text of each dvc.lock below `folder`, and of each .gitignore, which DVC writes too."""
    paths = sorted(path for name in ("dvc.lock", ".gitignore") for path in folder.rglob(name))
    ours = {".dvc", ".inkflow"}
    return {str(path.relative_to(folder)): path.read_text() for path in paths if not ours & set(path.parts)}


def counts(folder: Path) -> dict[str, int]:
    """Returns how often each command ran, from the `<name>.runs` files to which the commands append."""
    return {path.stem: len(path.read_text().splitlines()) for path in sorted(folder.glob("*.runs"))}


def dvc_repro(folder: Path) -> None:
    """Runs `dvc repro --all-pipelines` in `folder`, in this process."""
    with chdir(folder), Repo() as repo:
        repo.reproduce(all_pipelines=True)


def dvc(*arguments: str) -> str:
    """Runs a `dvc` command and returns its output."""
    return commands.dvc(*arguments)


def twin(folder: Path) -> Path:
    """Copies the project to a folder beside it, in which DVC itself runs."""
    copy = folder.with_name("twin")
    shutil.copytree(folder, copy, symlinks=True)
    return copy


def delete_cache(folder: Path, *, runs: bool = True) -> None:
    """Deletes DVC's cache below `folder`: the contents, and with `runs` the run cache too."""
    for part in ("files", *(["runs"] if runs else [])):
        shutil.rmtree(folder / ".dvc" / "cache" / part, ignore_errors=True)


def stage_processes(folder: Path) -> list[psutil.Process]:
    """Returns the running processes of stages of the project in `folder`."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").endswith(f":{folder}"):
                processes.append(process)
        except (psutil.Error, OSError):
            continue
    return processes
