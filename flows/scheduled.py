"""The flow of scheduled runs: the pipeline with what others put into DVC's remote, and what came of it pushed there."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from prefect import Task, flow
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.dvc_repo import remotes
from flows.pipeline import pipeline
from flows.tasks.failure_state import failed
from stages.base.errors import InkflowError

PULL, PUSH = "pull", "push"
TRIES, DELAY_S = 3, 30  # a remote that cannot be reached may be back soon


@flow(name="inkflow", persist_result=False)
def nightly(
    targets: list[str] | None = None,
    settings: dict[str, Any] | None = None,
    dataset: str | None = None,
    fallback: str | None = None,
    force: bool = False,
    jobs: Annotated[int, Field(ge=1)] | None = None,
    keep_going: bool = False,
    push: bool = True,
) -> State[Any]:
    """Bring the stages up to date, then push the results: what is unchanged or cached, here or there, is not run.

    Args:
        targets: stages to bring up to date with all that they need, for example `train@cnn`; all when empty.
        settings: parameters to change in params.yaml, for example `{"models.dense.epochs": 3}`.
        dataset: the data set to use, one of `datasets` in params.yaml.
        fallback: the data set to use when the chosen one cannot be reached.
        force: run the stages even when nothing changed.
        jobs: how many stages may run at the same time; as many as there are cores when empty.
        keep_going: after a failure, run what does not depend on it.
        push: push outputs and run cache to DVC's default remote; without a remote nothing is pushed.
    """
    state = pipeline.fn(targets, settings, dataset, fallback, force, jobs, keep_going, pulls=pulled())
    return after_push(state) if push else state


def pulled() -> bool:
    """Get the run cache of DVC's default remote, without which a fresh clone would run everything; whether it is here.

    A remote that fails costs the time of running, and no more.
    """
    try:
        if remotes.default_remote(Path()) is None:
            return False
    except InkflowError:
        return False  # the pipeline says what is wrong
    return _persistently(_pull, PULL).is_completed()


def after_push(state: State[Any]) -> State[Any]:
    """`state` of the run when its results are pushed, or need not be; else what the push failed with."""
    if not state.is_completed() or remotes.default_remote(Path()) is None:
        return state
    pushed = _persistently(_push, PUSH)
    return state if pushed.is_completed() else Failed(message=f"{state.message}; not pushed: {pushed.message}")


def _persistently(work: Callable[[], State[Any]], name: str) -> State[Any]:
    """Final state of `work` as a task, which is tried again when it fails."""
    task = Task(
        fn=work, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False,
        retries=TRIES, retry_delay_seconds=DELAY_S,
    )  # fmt: skip
    ended: State[Any] = task(return_state=True)
    return ended


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
