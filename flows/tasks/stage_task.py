"""Shows a stage as a Prefect task: its output in the task's log, its progress as an artifact, its result as a state."""

from typing import Any

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from flows.core.redaction import mask
from flows.engine.policy import StagePolicy
from flows.engine.stage_events import EndEvent, FailedAttempt, NotRun, StageEvents
from flows.engine.types import Outcome, Result
from flows.tasks.failure_state import failure_state
from flows.tasks.progress_artifact import ProgressArtifact


def stage_task(events: StageEvents, policy: StagePolicy) -> Task[[], State[Any]]:
    """Return a task that follows the events of a stage; it has the stage's name, and a retry per failed try."""
    name = mask(events.stage.name)  # a combination of a sweep has its values in its name
    endings: list[EndEvent] = []

    def body() -> State[Any]:
        logger = get_run_logger()
        progress = ProgressArtifact(name, logger.warning)

        def on_line(text: str) -> None:
            logger.info(text)
            progress.update(text)

        endings.append(events.follow(on_line))
        if isinstance(endings[-1], Result):
            progress.close()
        return _state(endings[-1])

    return Task(
        fn=body,
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=policy.retries,
        retry_condition_fn=lambda *_: isinstance(endings[-1], FailedAttempt),
    )


def _state(ending: EndEvent) -> State[Any]:
    if isinstance(ending, NotRun):
        return Cancelled(name="Not run", message=f"not run, since {ending.cause}")
    if isinstance(ending, Result):
        name = "Completed" if ending.outcome is Outcome.RAN else "Cached"
        return Completed(name=name, message=mask(ending.message))
    return failure_state(ending.error if isinstance(ending, FailedAttempt) else ending)
