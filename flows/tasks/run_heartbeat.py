"""Sends the heartbeats of a flow run in place of Prefect, whose heartbeat thread delays the end of a run.

Prefect's thread sleeps in steps of a second, and the end of a flow waits for it: half a second in each run.
"""

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


@contextmanager
def without_own_heartbeats() -> Iterator[None]:
    """Let Prefect send no heartbeats for flows that are called in the block."""
    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@contextmanager
def run_heartbeat(event: str, interval_s: float) -> Iterator[None]:
    """Send the heartbeats of this context's flow run during the block; the end of the block does not wait.

    The server of `inkflow up` marks a run as crashed if they stop before the run has a final state.

    Args:
        event: name of the event.
        interval_s: time between two of them, in seconds.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    ended = threading.Event()

    def send() -> None:
        assert run is not None
        resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
        while not ended.is_set():
            with suppress(Exception):  # Prefect documents no errors, and none may end the heartbeats
                emit_event(event=event, resource=resource)
            ended.wait(interval_s)

    if run is not None:
        # With the context, the event names the flow too, and goes to the server of the run.
        target = contextvars.copy_context().run
        threading.Thread(target=target, args=[send], name="run-heartbeat", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
