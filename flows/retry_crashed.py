"""Starts a crashed flow run again, whose process was killed or sends no heartbeat; an event triggers this flow."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterLevel,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.states import AwaitingRetry, Completed, Crashed
from pydantic import Field

from flows.core.redaction import mask, mask_logs
from flows.prefect_server.crashes import ERROR_LEVEL, GAVE_UP, crash_reason
from flows.status.renewal import renews_status
from flows.tasks.own_settings import own_flow
from flows.tasks.run_name import name_run

UNFINISHED = [StateType.PENDING, StateType.RUNNING]

mask_logs()


@own_flow("retry-crashed")
@renews_status
def retry_crashed(run: str, tries: Annotated[int, Field(ge=1, le=100)] = 3) -> State[Any]:
    """Start a crashed run again; the stages that it finished are cached.

    Args:
        run: id of the run, or resource id of the event about it (`prefect.flow-run.<id>`).
        tries: maximum number of starts of a run, the first one included.
    """
    identifier = UUID(run.removeprefix("prefect.flow-run."))
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(identifier)
        if flow_run.state is None or not flow_run.state.is_crashed():
            return Completed(message=f"{flow_run.name} is no longer crashed")
        name_run("retry", flow_run.name)
        _end_tasks(client, identifier)
        # not `run_count`: a process that dies before its flow starts does not raise it
        crashes = sum(state.is_crashed() for state in client.read_flow_run_states(identifier))
        reason = _reason(client, flow_run)
        if crashes >= tries:
            # The name differs from that of the trigger's event, which would start this flow again.
            message = f"crashed {crashes} times, not started again: {reason}"
            gave_up: State[Any] = State(type=StateType.CRASHED, name=GAVE_UP, message=message)
            client.set_flow_run_state(identifier, gave_up, force=True)
            return Completed(message=f"{flow_run.name} {message}")
        message = f"started again after crash {crashes} of at most {tries}: {reason}"
        state: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC), message=message)
        client.set_flow_run_state(identifier, state)
    return Completed(message=f"{flow_run.name} is {message}")


def _end_tasks(client: SyncPrefectClient, run: UUID) -> None:
    """Mark the tasks that ran when the process of `run` ended as crashed: nobody else reports their end."""
    unfinished = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED)))
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    for task in client.read_task_runs(flow_run_filter=of_run, task_run_filter=unfinished):
        client.set_task_run_state(task.id, Crashed(message="the process of its flow run ended"), force=True)


def _reason(client: SyncPrefectClient, flow_run: FlowRun) -> str:
    """Return why the run crashed: the state's message, and the last line of the newest traceback in its log."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run.id]), level=LogFilterLevel(ge_=ERROR_LEVEL))
    logs = client.read_logs(of_run, sort=LogSort.TIMESTAMP_DESC)
    message = flow_run.state.message if flow_run.state else None
    return mask(crash_reason(message or "", [log.message for log in logs]))
