"""Shows a stage as a Prefect task: its output in the task's log, its progress as an artifact, its result as a state."""

from collections.abc import Iterable
from typing import Any

from prefect import Task, get_run_logger
from prefect.client.schemas.objects import RunInput, State, TaskRunResult
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed

from flows.core.redaction import mask
from flows.engine.policy import StagePolicy
from flows.engine.stage_events import EndEvent, FailedAttempt, NotRun, StageEvents
from flows.engine.types import Outcome, Result
from flows.tasks.assets import emit_assets
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_task
from flows.tasks.progress_artifact import ProgressArtifact

Future = PrefectFuture[State[Any]]
UPSTREAM = "upstream"  # the parameter of a task to which Prefect attaches the edges of its graph


def submit_stage(events: StageEvents, policy: StagePolicy, upstream: Iterable[Future] = ()) -> Future:
    """Submit the task of a stage in the present flow; Prefect's graph shows an edge from each task of `upstream`.

    The task does not wait for them, as `wait_for` would: the engine has started the stage, or skips it.
    """
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("a stage is a task of a flow, and no flow runs")
    edges: set[RunInput] = {TaskRunResult(id=future.task_run_id) for future in upstream}
    task = _stage_task(events, policy)
    future: Future = context.task_runner.submit(task, {UPSTREAM: None}, dependencies={UPSTREAM: edges})
    return future


def _stage_task(events: StageEvents, policy: StagePolicy) -> Task[[None], State[Any]]:
    """Return a task that follows the events of a stage; it has the stage's name, and a retry per failed try."""
    name = mask(events.stage.name)  # a combination of a sweep has its values in its name
    endings: list[EndEvent] = []

    def body(upstream: None) -> State[Any]:
        logger = get_run_logger()
        progress = ProgressArtifact(name, logger.warning)

        def on_text(text: str) -> None:
            logger.info(text)
            progress.update(text)

        endings.append(events.follow(on_text))
        if isinstance(endings[-1], Result):
            progress.close()
            emit_assets(endings[-1])
        return _state(endings[-1])

    return own_task(
        name,
        body,
        retries=policy.retries,
        retry_condition_fn=lambda *_: isinstance(endings[-1], FailedAttempt),
    )


def _state(ending: EndEvent) -> State[Any]:
    if isinstance(ending, NotRun):
        return Cancelled(name="Stopped" if ending.is_stopped else "Not run", message=ending.message)
    if isinstance(ending, Result):
        name = "Completed" if ending.outcome is Outcome.RAN else "Cached"
        return Completed(name=name, message=mask(ending.message))
    return failure_state(ending.error if isinstance(ending, FailedAttempt) else ending)
