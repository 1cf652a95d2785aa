"""Sends the event `inkflow.drift` to Prefect's server: once for each alarm of a watched model."""

import uuid
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
from prefect import get_client
from prefect.events import Event, Resource
from prefect.exceptions import PrefectException
from prefect.variables import Variable

from flows.core.alarms import DRIFT, Alarm, standing_alarms
from flows.tasks.variables import remember
from stages.base.errors import InkflowError

MAX_KNOWN = 80  # ids of alarms in a variable: Prefect takes values of up to 5,000 characters
NAMESPACE = uuid.UUID("5d6e6e0b-1f8c-4a5b-9d1c-2f7a4c3b9e10")  # of the ids of our events


def send_alarms(root: Path) -> list[Alarm]:
    """Sends an event for each model with alarms that no earlier event had; returns these alarms.

    The server remembers which alarms were sent, in a variable for each model.

    Raises:
        InkflowError: the server did not accept an event; the next call sends it.
    """
    sent: list[Alarm] = []
    alarms = sorted(standing_alarms(root), key=lambda alarm: alarm.model_sha256)
    try:
        for _, group in groupby(alarms, key=lambda alarm: alarm.model_sha256):
            sent += _send_new(list(group))
    except (httpx.HTTPError, PrefectException) as error:
        raise InkflowError(f"the server did not accept the event {DRIFT}; the next run sends it") from error
    return sent


def _send_new(standing: list[Alarm]) -> list[Alarm]:
    """Sends the alarms of one model that were not sent before, and returns them.

    The model may be watched in several folders, each with alarms of its own: their ids are kept, the oldest go first.
    """
    variable = f"inkflow_drift_{standing[0].model_sha256[:12].lower()}"
    known: Any = Variable.get(variable, default=None)
    new = [alarm for alarm in standing if alarm.id not in (known or [])]
    if new:
        _send(new)
        own = [alarm.id for alarm in standing]
        others = [one for one in known or [] if one not in own]
        remember(variable, [*others, *own][-MAX_KNOWN:])  # last: what was not sent is sent next
    return new


def _send(alarms: list[Alarm]) -> None:
    """Posts one event about `alarms` of one model; Prefect's `emit_event` does not report that it was lost."""
    first = alarms[0]
    event = Event(
        id=uuid.uuid5(NAMESPACE, " ".join(alarm.id for alarm in alarms)),
        event=DRIFT,
        resource=Resource({
            "prefect.resource.id": f"inkflow.model.{first.model_sha256[:12]}",
            "prefect.resource.name": first.model,
            "inkflow.model.sha256": first.model_sha256,
            "inkflow.model.version": first.version,
        }),
        payload={"alarms": [{"statistic": item.statistic, "sentence": item.sentence, "since": item.since}
                            for item in alarms]},
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
