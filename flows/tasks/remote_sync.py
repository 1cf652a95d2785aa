"""Pulls from and pushes to DVC's remotes in Prefect tasks, with retries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.dvc_repo import remotes
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_task
from stages.base.errors import InkflowError

PULL, PUSH = "pull", "push"
RETRIES, RETRY_DELAY_S = 3, 30


def pull_run_cache() -> bool:
    """Pull the run cache from DVC's default remote, and return True if results can be restored from remotes.

    A failure is not an error: stages then run whose results could have been restored.
    """
    try:
        if not remotes.has_remote(Path()):
            return False
    except InkflowError:
        return False  # the pipeline reports the error in the configuration
    pull = _run_task(PULL, lambda: f"{remotes.pull_run_cache(Path())} new entries of the run cache pulled")
    return pull.is_completed()


def push_results(state: State[Any]) -> State[Any]:
    """Push outputs and run cache after a run that ended in `state`; return `state`, or Failed if the push failed.

    Nothing is pushed after a failed run, or without a remote.
    """
    push = push_here() if state.is_completed() else None
    if push is None or push.is_completed():
        return state
    return Failed(message=f"{state.message}; not pushed: {push.message}")


def push_here() -> State[Any] | None:
    """Push outputs and run cache of the project in the current folder; return the state of the push.

    None without a remote.
    """
    return _run_task(PUSH, lambda: remotes.push_all(Path())) if remotes.has_remote(Path()) else None


def _run_task(name: str, transfer: Callable[[], str]) -> State[Any]:
    """Run `transfer` as a task with retries, and return its final state; the returned text is the state's message."""

    def body() -> State[Any]:
        try:
            return Completed(message=transfer())
        except InkflowError as error:
            return failure_state(error)

    task = own_task(name, body, retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
    state: State[Any] = task(return_state=True)
    return state
