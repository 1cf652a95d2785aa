"""The flow that an event starts when a run crashed: its process was killed, or its worker fell silent."""

from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_client
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Completed
from prefect.types import DateTime
from pydantic import Field

from flows.core.redaction import mask_logs

mask_logs()


@flow(name="retry-crashed", persist_result=False)
def retry_crashed(run: str, tries: Annotated[int, Field(ge=1, le=100)] = 3) -> State[Any]:
    """Start a crashed run again: stages that it had finished are cached.

    Args:
        run: the run's id, or the resource of the event that tells of it (`prefect.flow-run.<id>`).
        tries: how often a run may be started in all.
    """
    identifier = UUID(run.removeprefix("prefect.flow-run."))
    with get_client(sync_client=True) as client:
        crashed = client.read_flow_run(identifier)
        if crashed.state is None or not crashed.state.is_crashed():
            return Completed(message=f"{crashed.name} is not crashed any more")
        if crashed.run_count >= tries:
            return Completed(message=f"{crashed.name} crashed {crashed.run_count} times: left as it is")
        state: State[Any] = AwaitingRetry(scheduled_time=DateTime.now("UTC"), message="its process died: once more")
        client.set_flow_run_state(identifier, state)
    return Completed(message=f"{crashed.name} starts again")
