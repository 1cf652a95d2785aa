"""Shows a stage as a Prefect task: its output in the task's log, its progress as an artifact, its result as a state."""

from typing import Any

from prefect import Task, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from flows.engine.policy import StagePolicy
from flows.engine.stage_events import EndEvent, FailedAttempt, NotRun, StageEvents
from flows.engine.types import Outcome, Result
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_task
from flows.tasks.progress_artifact import ProgressArtifact


def stage_task(events: StageEvents, policy: StagePolicy) -> Task[[], State[Any]]:
    """Return a task that follows the events of a stage; it has the stage's name, and a retry per failed try."""
    name = events.stage.name
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

    return own_task(
        name,
        body,
        retries=policy.retries,
        retry_condition_fn=lambda *_: isinstance(endings[-1], FailedAttempt),
    )


def _state(ending: EndEvent) -> State[Any]:
    if isinstance(ending, NotRun):
        return Cancelled(name="Not run", message=f"not run, since {ending.cause}")
    if isinstance(ending, Result):
        name = "Completed" if ending.outcome is Outcome.RAN else "Cached"
        return Completed(name=name, message=ending.message)
    return failure_state(ending.error if isinstance(ending, FailedAttempt) else ending)
