"""Starts a crashed flow run again, whose process was killed or sends no heartbeat; an event triggers this flow."""

from typing import Annotated, Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Completed
from prefect.types import DateTime
from pydantic import Field

from flows.core.redaction import mask_logs
from flows.tasks.own_settings import own_flow

mask_logs()


@own_flow("retry-crashed")
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
        if flow_run.run_count >= tries:
            return Completed(message=f"{flow_run.name} crashed {flow_run.run_count} times: not started again")
        state: State[Any] = AwaitingRetry(scheduled_time=DateTime.now("UTC"), message="retried after a crash")
        client.set_flow_run_state(identifier, state)
    return Completed(message=f"{flow_run.name} is started again")
