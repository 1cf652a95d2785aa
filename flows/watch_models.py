"""Sends the event `inkflow.drift` about alarms that the server of a model, or a score without Prefect, has raised."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.core.alarms import standing_alarms
from flows.core.redaction import mask_logs
from flows.core.values import counted
from flows.status.renewal import renews_status
from flows.tasks.drift_events import send_alarms
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.tasks.run_name import name_run
from stages.base.errors import InkflowError

mask_logs()


@own_flow("watch-models")
@renews_status
def watch_models() -> State[Any]:
    """Send an event `inkflow.drift` about the alarms of the watched models that no earlier event had."""
    root = Path()
    try:
        sent = send_alarms(root)
    except InkflowError as error:
        return failure_state(error)
    for alarm in sent:
        get_run_logger().warning("%s: %s", alarm.model, alarm.sentence)
    counts = f"{counted(len(standing_alarms(root)), 'alarm stands', 'alarms stand')}, {len(sent)} of them new"
    name_run("models", counts)
    return Completed(message=counts)
