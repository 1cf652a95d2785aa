"""Applies the retry policy of a stage."""

import threading
from collections.abc import Callable

from flows.core.errors import Interrupted, is_retryable
from flows.engine.policy import StagePolicy
from flows.engine.types import Result
from stages.base.errors import InkflowError, machine_fault


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
            outcome = error
        except BaseException as error:  # noqa: BLE001 - otherwise the run would wait for this stage for ever
            outcome = InkflowError(f"{stage}: {machine_fault(error) or f'internal error of the engine: {error!r}'}")
            outcome.__cause__ = error
        if not retries_left or not is_retryable(outcome):
            break
        wait = f"next attempt in {policy.retry_delay_s:g} s"
        on_failure(outcome, f"failed: {outcome}; {wait}, {retries_left} more attempts")
        if stop_event.wait(policy.retry_delay_s):
            return Interrupted(stage)
    return outcome
