"""A stage's events as a Prefect task: its lines in the task's log, its progress as an artifact, its end as a state."""

from typing import Any

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from flows.engine.policy import StagePolicy
from flows.engine.stage_events import Ending, FailedTry, NotRun, StageEvents
from flows.engine.types import Outcome, Result
from flows.tasks.failure_state import failed
from flows.tasks.progress_artifact import ProgressArtifact


def stage_task(events: StageEvents, policy: StagePolicy) -> Task[[], State[Any]]:
    """A Prefect task of the stage's name that follows its events."""
    name = events.stage.name
    tries: list[Ending] = []

    def body() -> State[Any]:
        logger = get_run_logger()
        progress = ProgressArtifact(name, logger.warning)

        def on_line(text: str) -> None:
            logger.info(text)
            progress.update(text)

        tries.append(events.follow(on_line))
        if isinstance(tries[-1], Result):
            progress.close()
        return _state(tries[-1])

    return Task(
        fn=body,
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=policy.retries,
        retry_condition_fn=lambda *_: isinstance(tries[-1], FailedTry),
    )


def _state(ending: Ending) -> State[Any]:
    if isinstance(ending, NotRun):
        return Cancelled(name="Not run", message=f"not run, since {ending.cause}")
    if isinstance(ending, Result):
        name = "Completed" if ending.outcome is Outcome.RAN else "Cached"
        return Completed(name=name, message=ending.sentence)
    return failed(ending.error if isinstance(ending, FailedTry) else ending)
