"""A study that cannot be written while a search runs: it ends with one sentence, and no trial waits for ever."""

import os
import resource
import threading
from pathlib import Path

import pytest

from flows.core.errors import Pruned
from flows.engine.stage_events import EndEvent
from flows.experiments.sweep_runner import SweepRunner
from stages.base.errors import InkflowError, OutputError
from tests.flows.experiments.search.test_search_trials import end_trial, search_in
from tests.flows.test_search import SearchProject, project

__all__ = ["project"]  # fixture

# As on a full disk: the process of the search cannot write any file.
FULL = "import resource; resource.prlimit({process}, resource.RLIMIT_FSIZE, (0, -1))\n"
# Another error of the journal, which is none that any line of a program can meet.
LOST = "journal = Path({journal!r}); journal.unlink(); journal.mkdir()\n"


def endings_of(runner: SweepRunner) -> list[EndEvent]:
    """Runs a search and follows its trials, as Prefect's tasks do, until all have ended."""
    endings: list[EndEvent] = []

    def follow() -> None:
        endings.extend(events.follow(lambda _: None) for events in runner.events())

    following = threading.Thread(target=follow, daemon=True)
    runner.start()
    following.start()
    following.join(120)
    assert not following.is_alive()
    return endings


@pytest.mark.cases(1)
@pytest.mark.parametrize("fault", [FULL, LOST], ids=["full disk", "lost journal"])
@pytest.mark.parametrize("fails", [True, False])
def test_a_journal_that_cannot_be_written(project: SearchProject, fault: str, fails: bool) -> None:
    """The events of the trial end and the search ends with the journal's error, whether the trial failed or not."""
    study = project.folder / ".inkflow/search/s"
    code = fault.format(process=os.getpid(), journal=str(study / "journal"))
    end = "sys.exit('error: unlucky')\n" if fails else ""
    project.write({"fit.py": project.read("fit.py") + code + end})
    project.commit()
    search, runner = project.prepare("--space", "space.yaml:x=12|14", "--jobs", "1", "--study", "s")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        [ending] = endings_of(runner)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(ending, InkflowError) and runner.crash is None
    assert isinstance(search.failure, OutputError) and f"cannot write {study}" in str(search.failure)
    assert [trial.state for trial in search.trials] == ["failed"] and len(project.starts()) == 1
    assert ("unlucky" in str(ending)) == fails


def test_a_pruned_trial_that_cannot_be_recorded(tmp_path: Path) -> None:
    """The error of the journal ends the search and leaves its lock free, and the trial stays open."""
    search = search_in(tmp_path)
    trial = search.next()
    assert trial is not None
    trial.pruned = "after step 1"
    journal = tmp_path / "study/journal"
    journal.rename(tmp_path / "kept")
    journal.mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        end_trial(search, trial, tmp_path, Pruned(trial.name, trial.pruned))
    assert isinstance(search.failure, OutputError) and search.next() is None
    journal.rmdir()
    (tmp_path / "kept").rename(journal)
    search.study.close()
    again = search_in(tmp_path).next()
    assert again is not None and again.name == trial.name
