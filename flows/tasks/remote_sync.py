"""Tasks of scheduled runs that exchange results with DVC's default remote, tried again when it cannot be reached."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.dvc_repo import remotes
from flows.tasks.failure_state import failed
from stages.base.errors import InkflowError

PULL, PUSH = "pull", "push"
TRIES, DELAY_S = 3, 30  # a remote that cannot be reached may be back soon


def pull_run_cache() -> bool:
    """Get the run cache of DVC's default remote; True when it is here.

    Without it a fresh clone would run everything. A remote that fails costs that time, and no more.
    """
    try:
        if remotes.default_remote(Path()) is None:
            return False
    except InkflowError:
        return False  # the pipeline reports what is wrong
    return _with_retries(_pull, PULL).is_completed()


def push_results(state: State[Any]) -> State[Any]:
    """`state` of the run when its results are pushed, or need not be; else a failure with the reason."""
    if not state.is_completed() or remotes.default_remote(Path()) is None:
        return state
    pushed = _with_retries(_push, PUSH)
    return state if pushed.is_completed() else Failed(message=f"{state.message}; not pushed: {pushed.message}")


def _with_retries(work: Callable[[], State[Any]], name: str) -> State[Any]:
    """Final state of `work` as a task, which is tried again when it fails."""
    task = Task(
        fn=work, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False,
        retries=TRIES, retry_delay_seconds=DELAY_S,
    )  # fmt: skip
    state: State[Any] = task(return_state=True)
    return state


def _pull() -> State[Any]:
    try:
        return Completed(message=f"{remotes.pull_run_cache(Path())} new entries of the run cache pulled")
    except InkflowError as error:
        return failed(error)


def _push() -> State[Any]:
    try:
        return Completed(message=remotes.push_all(Path()))
    except InkflowError as error:
        return failed(error)
