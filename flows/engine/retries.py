"""Starts the attempts to bring a stage up to date, and applies its retry policy."""

import queue
import threading
from collections.abc import Callable

from flows.core.errors import Interrupted, is_retryable
from flows.engine.policy import StagePolicy
from flows.engine.stage_events import StageEvents
from flows.engine.types import Result
from stages.base.errors import InkflowError, machine_fault


def start_attempts(
    events: StageEvents,
    attempts: Callable[[], Result | InkflowError],
    finished: "queue.Queue[tuple[StageEvents, Result | InkflowError]]",
) -> None:
    """Calls `attempts` in a thread, and puts the events of the stage with the outcome into `finished`.

    An outcome follows whatever happens, also without memory for a thread: else the run would wait for it for ever.
    """
    name = events.stage.name

    def run() -> None:
        try:
            outcome = attempts()
        except BaseException as error:  # noqa: BLE001 - see above
            outcome = as_failure(name, error)
        finished.put((events, outcome))

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        finished.put((events, as_failure(name, error)))


def as_failure(stage: str, error: BaseException) -> InkflowError:
    """Returns the failure of a stage for an error that is none of ours."""
    failure = InkflowError(f"{stage}: {machine_fault(error) or f'internal error of the engine: {error!r}'}")
    failure.__cause__ = error
    return failure


def _with_name(stage: str, error: InkflowError) -> InkflowError:
    """Returns `error`, whose message then begins with the name of its stage: the end of a run shows it alone."""
    if not str(error).startswith((f"{stage}: ", f"{stage} ")):
        error.args = (f"{stage}: {error}",)
    return error


def with_retries(
    stage: str,
    policy: StagePolicy,
    attempt: Callable[[], Result],
    on_failure: Callable[[InkflowError, str], None],
    stop_event: threading.Event,
) -> Result | InkflowError:
    """Calls `attempt` until it succeeds, fails for good, or has no retry left; returns its result or its last error.

    Args:
        stage: name of the stage, for messages.
        policy: its retries and their delay in seconds.
        attempt: brings the stage up to date.
        on_failure: called with the error of each attempt that another one follows, and a message about that one.
        stop_event: ends the wait for the next attempt; the result is then `Interrupted`.
    """
    for retries_left in reversed(range(policy.retries + 1)):
        try:
            return attempt()
        except InkflowError as error:
            outcome = _with_name(stage, error)
        except BaseException as error:  # noqa: BLE001 - as an error of the machine, which can pass
            outcome = as_failure(stage, error)
        if not retries_left or not is_retryable(outcome):
            break
        wait = f"next attempt in {policy.retry_delay_s:g} s"
        on_failure(outcome, f"failed: {outcome}; {wait}, {retries_left} more attempts")
        if stop_event.wait(policy.retry_delay_s):
            return Interrupted(stage)
    return outcome
