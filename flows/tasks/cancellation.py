"""Notices that a person cancels a run on Prefect's page."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

POLL_S = 2.0
DEPLOYED_POLL_S = 15.0  # of a deployed run, which its worker ends first


@contextmanager
def watch_for_cancellation(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `interrupt` if the flow run of this context is cancelled in Prefect before the block ends.

    The worker of a deployed run ends its process, unless it stopped looking, since the server was away for a while.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    ended = threading.Event()

    def watch(run_id: UUID, poll_s: float) -> None:
        with get_client(sync_client=True) as client:
            while not ended.wait(poll_s):
                with suppress(httpx.HTTPError, OSError, PrefectException, ValueError):  # the next poll may succeed
                    state = client.read_flow_run(run_id).state
                    if state is not None and (state.is_cancelling() or state.is_cancelled()):
                        interrupt()
                        return

    if run is not None:
        poll_s = POLL_S if run.deployment_id is None else DEPLOYED_POLL_S
        threading.Thread(target=watch, args=[run.id, poll_s], name="cancellation", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
