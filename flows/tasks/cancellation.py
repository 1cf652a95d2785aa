"""Notices that a person cancels a run on Prefect's page, for runs whose process nobody else ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

POLL_S = 2.0


@contextmanager
def watch_for_cancellation(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `interrupt` if the flow run of this context is cancelled in Prefect before the block ends.

    A deployed run needs no watch: its worker ends the process.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    ended = threading.Event()

    def watch(run_id: UUID) -> None:
        with get_client(sync_client=True) as client:
            while not ended.wait(POLL_S):
                with suppress(httpx.HTTPError, OSError, PrefectException):  # the next poll may succeed
                    state = client.read_flow_run(run_id).state
                    if state is not None and (state.is_cancelling() or state.is_cancelled()):
                        interrupt()
                        return

    if run is not None and run.deployment_id is None:
        threading.Thread(target=watch, args=[run.id], name="cancellation", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
