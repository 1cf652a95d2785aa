"""Which failures of a stage are tried again, how often, and what ends the attempts."""

import errno
import queue
import threading
from collections.abc import Callable

import pytest

from flows.core.errors import Interrupted, StageFailed, StageTimedOut, is_retryable
from flows.engine.policy import StagePolicy
from flows.engine.retries import start_attempts, with_retries
from flows.engine.stage_events import StageEvents
from flows.engine.types import Outcome, Result, Stage
from stages.base.errors import InkflowError

DONE = Result("a", Outcome.RAN)
BUSY = StageFailed("a", 75, ["error: busy"])


def attempts(*ends: BaseException | Result) -> Callable[[], Result]:
    """Returns an attempt that ends with each of `ends` in turn."""
    rest = iter(ends)

    def attempt() -> Result:
        end = next(rest)
        if isinstance(end, Result):
            return end
        raise end

    return attempt


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StageFailed("a", 69, []), True),
        (StageFailed("a", 75, []), True),
        (StageFailed("a", 1, []), False),
        (StageFailed("a", 2, []), False),
        (StageFailed("a", -9, []), False),
        (StageTimedOut("a", 1), True),
        (Interrupted("a"), False),
        (InkflowError("a"), False),
        (None, False),
    ],
)
def test_what_may_pass(error: BaseException | None, expected: bool) -> None:
    """A source that is not there and a time limit may pass; a mistake, a kill and an interrupt do not."""
    assert is_retryable(error) is expected


@pytest.mark.parametrize(
    ("retries", "ends", "outcome", "waits"),
    [
        (0, [BUSY], BUSY, []),
        (1, [DONE], DONE, []),
        (1, [BUSY, DONE], DONE, [1]),
        (2, [BUSY, BUSY, DONE], DONE, [2, 1]),
        (2, [BUSY, BUSY, BUSY], BUSY, [2, 1]),
        (2, [StageFailed("a", 1, ["wrong"])], None, []),
        (3, [BUSY, StageFailed("a", 1, ["wrong"])], None, [3]),
    ],
)
def test_attempts(
    retries: int, ends: list[BaseException | Result], outcome: Result | InkflowError | None, waits: list[int]
) -> None:
    """A stage is tried until it succeeds, fails for good or has no retry left; each wait says how many are left."""
    messages: list[str] = []
    policy = StagePolicy(retries=retries)
    found = with_retries("a", policy, attempts(*ends), lambda _, text: messages.append(text), threading.Event())
    assert found is (ends[-1] if outcome is None else outcome)
    assert messages == [f"failed: {BUSY}; next attempt in 0 s, {left} more attempts" for left in waits]


def test_an_interrupt_ends_the_wait() -> None:
    """A run that is stopped does not wait for the next attempt."""
    stop = threading.Event()
    policy = StagePolicy(retries=5, retry_delay_s=3600)
    found = with_retries("a", policy, attempts(BUSY), lambda *_: stop.set(), stop)
    assert isinstance(found, Interrupted)


def test_a_mistake_of_the_engine_is_a_failure_of_the_stage() -> None:
    """Any other exception is reported with its cause, and not tried again: the run does not wait for ever."""
    found = with_retries("a", StagePolicy(retries=2), attempts(KeyError("x")), lambda *_: None, threading.Event())
    assert isinstance(found, InkflowError) and "a: internal error of the engine: KeyError('x')" in str(found)
    assert isinstance(found.__cause__, KeyError)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a is busy", "a is busy"),
        ("a: is busy", "a: is busy"),
        ("any other text", "a: any other text"),
        ("b failed", "a: b failed"),
    ],
)
def test_a_failure_names_its_stage(text: str, expected: str) -> None:
    """The message of a failure begins with the name of the stage, once."""
    found = with_retries("a", StagePolicy(), attempts(InkflowError(text)), lambda *_: None, threading.Event())
    assert str(found) == expected


def started(attempt: Callable[[], Result | InkflowError]) -> Result | InkflowError:
    """Returns the outcome of an attempt in a thread of its own."""
    finished: queue.Queue[tuple[StageEvents, Result | InkflowError]] = queue.Queue()
    events = StageEvents(Stage("a"))
    start_attempts(events, attempt, finished)
    seen, outcome = finished.get(timeout=20)
    assert seen is events
    return outcome


def test_each_stage_that_is_started_has_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result, an error of any kind, and a thread that cannot be started: the run gets to know of each."""
    assert started(lambda: DONE) is DONE
    assert str(started(attempts(OSError(errno.ENOSPC, "No space left on device")))).startswith("a: No space left")
    assert str(started(attempts(ValueError("x")))) == "a: internal error of the engine: ValueError('x')"
    is_daemon = str(started(lambda: Result(str(threading.current_thread().daemon), Outcome.RAN)))
    assert "True" in is_daemon, "the end of a run that is interrupted would wait for the thread"

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert str(started(lambda: DONE)).startswith("a: no thread can be started; ")
