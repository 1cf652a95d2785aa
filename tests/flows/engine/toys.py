"""What the tests of the engine share: a plan made beforehand, DVC's own judgement, and copies that `dvc repro` runs."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

FORETOLD = {
    Verdict.UNCHANGED: Outcome.UNCHANGED,
    Verdict.RESTORE: Outcome.RESTORED,
    Verdict.RECORD: Outcome.RECORDED,
    Verdict.RUN: Outcome.RAN,
}
ALWAYS_CHANGED = ["always changed"]  # all that `dvc status` says of a stage that always runs


class Heard(SilentDisplay):
    """A display that keeps what is said of the run itself, and what its stages say."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep `text`."""
        self.notes.append(text)

    def line(self, stage: str, text: str) -> None:
        """Keep a line of a stage."""
        self.lines.append(text)


def plan_here(*, force: bool = False) -> dict[str, Decision]:
    """The plan for the project in the current folder."""
    with Repository() as repository:
        return {decision.stage: decision for decision in plan(repository.facts(), repository.cache, force=force)}


def run_as_planned(jobs: int = 4) -> dict[str, Result]:
    """Plan, run, and hold the run to the plan; what became of each stage."""
    planned = plan_here()
    results = succeeded(run_engine(jobs=jobs))
    assert set(results) == set(planned)
    for name, decision in planned.items():
        if decision.verdict is not Verdict.MAY_RUN:
            assert results[name].outcome is FORETOLD[decision.verdict], f"{decision} but {results[name]}"
    return results


def succeeded(run: Run) -> dict[str, Result]:
    """Results of a run in which nothing failed."""
    assert not run.errors, run.errors
    assert not run.not_run
    return {result.stage: result for result in run.results}


def outcomes(results: Mapping[str, Result]) -> dict[str, Outcome]:
    """What became of each stage, without the reasons."""
    return {name: result.outcome for name, result in results.items()}


def status() -> dict[str, Any]:
    """What `dvc status` finds in the current folder, but for stages that always run."""
    with Repo() as repo:
        found: dict[str, Any] = repo.status()
    return {name: state for name, state in found.items() if state != ALWAYS_CHANGED}


def locks(folder: Path) -> dict[str, str]:
    """Every dvc.lock below `folder`, and every .gitignore, which DVC writes too."""
    paths = sorted(path for name in ("dvc.lock", ".gitignore") for path in folder.rglob(name))
    return {str(path.relative_to(folder)): path.read_text() for path in paths if ".dvc" not in path.parts}


def counts(folder: Path) -> dict[str, int]:
    """How often each command ran, by the `<name>.runs` files to which the commands append."""
    return {path.stem: len(path.read_text().splitlines()) for path in sorted(folder.glob("*.runs"))}


def dvc_repro(folder: Path) -> None:
    """`dvc repro --all-pipelines` in `folder`, in this process."""
    with inside(folder), Repo() as repo:
        repo.reproduce(all_pipelines=True)


def dvc(*arguments: str) -> str:
    """Output of a `dvc` command."""
    return subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=True).stdout


def twin(folder: Path) -> Path:
    """A copy of the project beside it, in which DVC itself runs."""
    copy = folder.with_name("twin")
    shutil.copytree(folder, copy, symlinks=True)
    return copy


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Make `folder` the current one for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def forget_cache(folder: Path, *, runs: bool = True) -> None:
    """Delete DVC's cache below `folder`: the contents, and with `runs` the run cache too."""
    for part in ("files", *(["runs"] if runs else [])):
        shutil.rmtree(folder / ".dvc" / "cache" / part, ignore_errors=True)


def stage_processes(folder: Path) -> list[psutil.Process]:
    """Whatever runs for stages of the project in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").endswith(f":{folder}"):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
