"""How the trials of a search end: which failures count, which leave a trial open, and when the search gives up."""

import argparse
import errno
import json
import math
import threading
from pathlib import Path

import pytest
from optuna.trial import TrialState

from flows.cli.sweeps.search import print_search
from flows.core.errors import CannotBeSent, NoRemote, NotEnoughMemory, PoolUnusable, StageFailed
from flows.engine.types import Outcome
from flows.experiments.search.objective import Objective
from flows.experiments.search.search_trials import MAX_FAILED, SearchTrials
from flows.experiments.trial_errors import MachineFailed, TrialsFailed
from flows.experiments.trials import Trial
from stages.base.errors import InkflowError, InvalidInput, OutputError
from tests.flows.experiments.search.test_study_decisions import study_in

COMPLETE, FAIL, RUNNING = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING
UNLUCKY = StageFailed("fit", 1, ["error: unlucky"])


def search_in(folder: Path, count: int = 50) -> SearchTrials:
    """Returns a search whose trials have their score in `m.json`."""
    study, objective = study_in(folder / "study", "x=0..1"), Objective("m.json", "loss", "fit")
    options = {"timeout_s": None, "prune": False, "reports": folder / "reports"}
    return SearchTrials(study, objective, [], folder, count=count, parallel=1, **options)  # type: ignore[arg-type]


def end(search: SearchTrials, folder: Path, result: object) -> Trial:
    """Ends the next trial with an error, or with the content of the file with its score."""
    trial = search.next()
    assert trial is not None
    end_trial(search, trial, folder, result)
    return trial


def end_trial(search: SearchTrials, trial: Trial, folder: Path, result: object) -> None:
    """Ends a trial, as the runner does."""
    if isinstance(result, InkflowError):
        trial.error = result
    else:
        (folder / "m.json").write_text(json.dumps(result))
        trial.outcome = Outcome.RAN
        try:
            search.finish(trial, folder)
        except InkflowError as error:
            trial.error = error
    search.close(trial)


def states(search: SearchTrials) -> list[TrialState]:
    """Returns the states of the study's trials."""
    return [trial.state for trial in search.study.trials()]


def test_a_score_that_is_not_finite_is_a_failed_trial(tmp_path: Path) -> None:
    """A training that diverged ends no search, not even as the first trial; a score that is missing there does."""
    search = search_in(tmp_path)
    assert "is nan, which cannot be compared" in str(end(search, tmp_path, {"loss": math.nan}).error)
    assert search.failure is None
    end(search, tmp_path, {"loss": 0.5})
    assert states(search) == [FAIL, COMPLETE]
    other = search_in(tmp_path / "other")
    end(other, tmp_path, {"los": 0.5})
    assert isinstance(other.failure, InvalidInput) and "did you mean 'los'?" in str(other.failure)
    assert other.next() is None and states(other) == [RUNNING]


def full_disk() -> OutputError:
    """Returns the error of a file that cannot be written."""
    error = OutputError("model.bin", cause := OSError(errno.ENOSPC, "No space left on device"))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        PoolUnusable("fit", "gpu", "no Prefect server is named", "name one"),
        NoRemote("fit"),
        CannotBeSent("fit", "commit first"),
        NotEnoughMemory("fit", "4GiB", "1GiB"),
        MachineFailed("there is not enough memory"),
        full_disk(),
    ],
)
def test_a_fault_of_the_machine_costs_no_trial(tmp_path: Path, error: InkflowError) -> None:
    """An error that says nothing about the parameters ends the search; the next one runs the trial again."""
    search = search_in(tmp_path)
    end(search, tmp_path, {"loss": 0.5})
    failed = end(search, tmp_path, error)
    assert search.failure is error and search.next() is None
    search.study.close()
    again = search_in(tmp_path)
    retried = again.next()
    assert retried is not None and retried.name == failed.name and retried.name.startswith("1: ")
    assert states(again) == [COMPLETE, RUNNING]


def test_an_error_of_a_stage_is_a_failed_trial(tmp_path: Path) -> None:
    """Failed trials between others count, and so do those at the end, also one that ends after all have begun."""
    search = search_in(tmp_path, count=5)
    for result in (UNLUCKY, {"loss": 0.5}, UNLUCKY, OutputError("a", OSError(errno.EISDIR, "Is a directory"))):
        end(search, tmp_path, result)
    last = search.next()
    assert last is not None and search.next() is None
    end_trial(search, last, tmp_path, UNLUCKY)
    assert states(search) == [FAIL, COMPLETE, FAIL, FAIL, FAIL]
    assert search.failure is None


def test_many_failures_in_a_row_end_the_search(tmp_path: Path) -> None:
    """Trials that fail one after another end the search; they count if there is a score, also one of before."""
    search = search_in(tmp_path)
    for _ in range(MAX_FAILED - 1):
        end(search, tmp_path, UNLUCKY)
    end(search, tmp_path, {"loss": 0.5})
    assert states(search) == [FAIL] * (MAX_FAILED - 1) + [COMPLETE]
    search.study.close()
    again = search_in(tmp_path)
    for _ in range(MAX_FAILED):
        assert again.failure is None
        end(again, tmp_path, UNLUCKY)
    assert isinstance(again.failure, TrialsFailed) and "unlucky; fix the cause" in str(again.failure)
    assert again.next() is None and states(again).count(FAIL) == 2 * MAX_FAILED - 1
    again.study.close()
    assert end(search_in(tmp_path), tmp_path, {"loss": 0.4}).name.startswith(f"{2 * MAX_FAILED}: ")


def test_trials_that_fail_again_count(tmp_path: Path) -> None:
    """A study whose first trials all fail gets on: what failed in two processes is not run a third time."""
    for state in (RUNNING, FAIL):
        search = search_in(tmp_path)
        for _ in range(MAX_FAILED):
            end(search, tmp_path, UNLUCKY)
        assert isinstance(search.failure, TrialsFailed) and states(search) == [state] * MAX_FAILED
        search.study.close()
    assert end(search_in(tmp_path), tmp_path, {"loss": 0.4}).name.startswith(f"{MAX_FAILED}: ")


@pytest.mark.parametrize("result", [{"loss": 0.5}, UNLUCKY])
def test_a_slow_trial_is_waited_for(tmp_path: Path, result: object) -> None:
    """Failures do not end a search while a trial runs that began before them, and may get a score."""
    search = search_in(tmp_path)
    slow = search.next()
    assert slow is not None
    for _ in range(MAX_FAILED):
        end(search, tmp_path, UNLUCKY)
    assert [search.failure] == [None]
    found: list[Trial | None] = []
    waiting = threading.Thread(target=lambda: found.append(search.next()))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive() and len(states(search)) == MAX_FAILED + 1
    end_trial(search, slow, tmp_path, result)
    waiting.join(240)
    if result is UNLUCKY:
        assert isinstance(search.failure, TrialsFailed) and found == [None]
    else:
        assert states(search) == [COMPLETE] + [FAIL] * MAX_FAILED + [RUNNING] and search.failure is None


def test_failed_trials_that_stay_open_are_printed_as_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure that the study does not know has its state and message in `--json`."""
    search = search_in(tmp_path)
    end(search, tmp_path, UNLUCKY)
    running = search.next()
    assert running is not None and states(search) == [RUNNING, RUNNING]
    print_search(search, argparse.Namespace(json=True))
    first, second = json.loads(capsys.readouterr().out)["trials"]
    assert first["state"] == "failed" and "unlucky" in first["message"]
    assert (second["state"], second["message"]) == ("running", "")


def test_failures_without_any_score_do_not_count(tmp_path: Path) -> None:
    """If all trials of a study failed, the next call runs them again."""
    search = search_in(tmp_path, count=2)
    numbers = [end(search, tmp_path, UNLUCKY).name for _ in range(2)]
    assert search.next() is None and search.failure is None
    search.study.close()
    again = search_in(tmp_path, count=2)
    assert [end(again, tmp_path, {"loss": 0.5}).name for _ in range(2)] == numbers
    assert states(again) == [COMPLETE, COMPLETE]


def test_a_study_whose_trials_all_failed_twice_is_an_error(tmp_path: Path) -> None:
    """A command that has nothing to try and no score does not end as if it had succeeded."""
    for _ in range(2):
        search = search_in(tmp_path, count=2)
        for _ in range(2):
            end(search, tmp_path, UNLUCKY)
        assert search.next() is None and search.failure is None
        search.study.close()
    third = search_in(tmp_path, count=2)
    assert third.next() is None
    assert "none has a score" in str(third.failure) and "--trials" in str(third.failure)
