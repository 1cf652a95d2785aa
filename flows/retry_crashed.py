"""Starts a crashed flow run again, whose process was killed or sends no heartbeat; an event triggers this flow."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
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
from prefect.states import AwaitingRetry, Completed, Crashed, Running
from pydantic import Field

from flows.core.redaction import mask, mask_logs
from flows.prefect_server.crashes import (
    ERROR_LEVEL,
    GAVE_UP,
    HEARTBEAT_EVENT,
    LIFE_SIGN_S,
    LIVES,
    SILENT,
    STOPPED,
    crash_reason,
)
from flows.status.renewal import renews_status
from flows.tasks.own_settings import own_flow
from flows.tasks.run_name import name_run

UNFINISHED = [StateType.PENDING, StateType.RUNNING]
POLL_S = 2.0

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
        crash = flow_run.state
        if crash is None or not crash.is_crashed():
            return Completed(message=f"{flow_run.name} is no longer crashed")
        name_run("retry", flow_run.name)
        if crash.message == SILENT and _lives(client, identifier, crash):
            client.set_flow_run_state(identifier, Running(message=LIVES), force=True)
            return Completed(message=f"{flow_run.name} lives: {LIVES}")
        if not _is_in(client, identifier, crash):  # another event about the run, or a person, was first
            return Completed(message=f"{flow_run.name} is no longer crashed as before")
        _end_tasks(client, identifier)
        # not `run_count`: a process that dies before its flow starts does not raise it
        crashes = _count_crashes(client.read_flow_run_states(identifier))
        reason = _reason(client, flow_run)
        if crashes >= tries:
            # The name differs from that of the trigger's event, which would start this flow again.
            message = f"crashed {crashes} times, not started again: {reason}"
            gave_up: State[Any] = State(type=StateType.CRASHED, name=GAVE_UP, message=message)
            client.set_flow_run_state(identifier, gave_up, force=True)
            return Completed(message=f"{flow_run.name} {message}")
        after = "" if crash.message == STOPPED else f" after crash {crashes} of at most {tries}"
        message = f"started again{after}: {reason}"
        state: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC), message=message)
        client.set_flow_run_state(identifier, state)
    return Completed(message=f"{flow_run.name} is {message}")


def _lives(client: SyncPrefectClient, run: UUID, crash: State[Any]) -> bool:
    """Wait up to LIFE_SIGN_S for a heartbeat of `run` after its `crash`, and return True if there is one.

    The server counts missing heartbeats by the wall clock. After a suspend of the machine, or a jump of the clock, it
    marks a living run before the run can send the next heartbeat. The time of this wait does not count a suspend.
    """
    sent = {
        "event": {"name": [HEARTBEAT_EVENT]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
        "occurred": {"since": crash.timestamp.isoformat()},
    }
    end = time.monotonic() + LIFE_SIGN_S
    while _is_in(client, run, crash):
        answer = client.request("POST", "/events/filter", json={"filter": sent, "limit": 1})
        if answer.raise_for_status().json()["events"]:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)
    return False


def _is_in(client: SyncPrefectClient, run: UUID, state: State[Any]) -> bool:
    """Return True if `state` is still the state of `run`."""
    current = client.read_flow_run(run).state
    return current is not None and current.id == state.id


def _count_crashes(states: Sequence[State[Any]]) -> int:
    """Return how often a run with these states crashed; a crash that was marked twice counts once.

    A stop of `inkflow up` does not count, nor does the mark of a run that lives.
    """
    ordered = [*sorted(states, key=lambda state: state.timestamp), None]
    return sum(
        state is not None
        and state.is_crashed()
        and state.message != STOPPED
        and not (following is not None and (following.is_crashed() or following.message == LIVES))
        for state, following in pairwise(ordered)
    )


def _end_tasks(client: SyncPrefectClient, run: UUID) -> None:
    """Mark the tasks that ran when the process of `run` ended as crashed: nobody else reports their end."""
    unfinished = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED)))
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    for task in client.read_task_runs(flow_run_filter=of_run, task_run_filter=unfinished):
        client.set_task_run_state(task.id, Crashed(message="the process of its flow run ended"), force=True)


def _reason(client: SyncPrefectClient, flow_run: FlowRun) -> str:
    """Return why the run crashed: the state's message, and the last line of the newest traceback in its log."""
    if flow_run.state and flow_run.state.message == STOPPED:
        return STOPPED
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run.id]), level=LogFilterLevel(ge_=ERROR_LEVEL))
    logs = client.read_logs(of_run, sort=LogSort.TIMESTAMP_DESC)
    message = flow_run.state.message if flow_run.state else None
    return mask(crash_reason(message or "", [log.message for log in logs]))
