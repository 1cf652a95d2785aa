"""Tells the receivers of `inkflow up` when an unattended run needs attention, and when its deployment works again.

Reads the events of Prefect's server, and keeps a record of what was posted, so that each failure is posted once.
Prefect's own automations post up to four times if its server is busy, and know no recovery.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from flows.core.alarms import DRIFT
from flows.core.notices import read_kept
from flows.core.redaction import mask, say_if_possible
from flows.prefect_server.api_client import connect, request
from flows.prefect_server.crashes import (
    ERROR_LEVEL,
    GAVE_UP,
    HEARTBEAT_EVENT,
    LIFE_SIGN_S,
    SILENT,
    STOPPED,
    crash_reason,
)
from flows.prefect_server.notifications.outbox import Outbox
from flows.prefect_server.notifications.receivers import POST_TIMEOUT_S, Receiver
from stages.base.digests import sealed
from stages.base.errors import InkflowError
from stages.base.files import write_text
from stages.base.shown_text import network_reason

BAD = ("Failed", "Crashed", "TimedOut", "Late", GAVE_UP)
GOOD = ("Completed", "Cached")
WAITING = "AwaitingConcurrencySlot"
EVENT_NAMES = [DRIFT, *(f"prefect.flow-run.{name}" for name in (*BAD, *GOOD, WAITING))]
STAGE_FLOW = "train-stage"  # the run that sent the stage reports its failure
POLL_S = 5.0
LATENESS_S = 900.0  # after which the server has stored an event, also of a client whose clock is behind
WAITING_S = 1800.0  # of a run for its turn, before it is posted
REPEAT_S = 6 * 3600.0  # after which the same failure of the same deployment is posted again
KEEP_S = 7 * 86400.0  # records of what was posted
UNREACHABLE = (httpx.TransportError, httpx.HTTPStatusError, httpx.InvalidURL)
NO_ANSWER = (401, 403, 408, 429)  # with all from 500: they say nothing of the run that was asked for


class Notifier(threading.Thread):
    """A thread that tells the receivers until `stop` is called; `path` is the record of what was posted."""

    def __init__(self, api_url: str, password: str | None, path: Path) -> None:
        super().__init__(name="notifier", daemon=True)
        self._api_url, self._path = api_url, path
        name, _, secret = (password or "").partition(":")
        try:  # here and not in the thread: a proxy or certificate file of the environment may be unusable
            self._api = connect(api_url, (name, secret) if password else None)
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:
            raise InkflowError(
                f"Prefect's server cannot be read ({mask(network_reason(error))}); correct the environment"
            ) from error
        self._end = threading.Event()
        self._record, self._written = _read_record(path), ""
        self._outboxes: list[Outbox] = []

    def set_receivers(self, receivers: Sequence[Receiver]) -> None:
        """Sets the receivers; what waited for one that is no longer among them is dropped."""
        waiting = self._record["waiting_posts"]
        self._record["waiting_posts"] = {item.key: waiting.get(item.key, []) for item in receivers}
        self._outboxes = [Outbox(item, self._record["waiting_posts"][item.key]) for item in receivers]

    def run(self) -> None:
        """Looks for new events every POLL_S; an unknown error is printed, once until another one."""
        printed = ""
        with self._api as api:
            while not self._end.wait(POLL_S):
                try:
                    self.poll(api)
                except (*UNREACHABLE, InkflowError):  # what was not read or recorded is tried again
                    continue
                except Exception as error:  # noqa: BLE001 - as about a page of a proxy: the thread has to go on
                    if printed != (printed := repr(error)):
                        say_if_possible(f"The events of Prefect's server cannot be read ({printed}); it is tried again")

    def stop(self) -> None:
        """Ends the thread."""
        self._end.set()
        if self.is_alive():
            self.join(POST_TIMEOUT_S)

    def poll(self, api: httpx.Client, waiting_s: float = WAITING_S) -> None:
        """Posts what happened since the last call, oldest first, and what a receiver did not accept before.

        Raises:
            httpx.HTTPError: The server does not respond.
        """
        record = self._record
        record["since"] = min(record["since"], _latest())  # the clock may have been set back
        try:
            for event in _events(api, datetime.fromisoformat(record["since"]) - timedelta(seconds=LATENESS_S)):
                if event["id"] not in record["seen"] and not _is_undecided(event):
                    try:
                        self._handle(event, api)
                    except (LookupError, TypeError, AttributeError, ValueError) as error:  # any client sends events
                        say_if_possible(f"The event {event['id']} cannot be read ({error!r}); it is skipped")
                    record["seen"][event["id"]] = event["occurred"]
                    record["since"] = max(record["since"], min(event["occurred"], _latest()))
            self._post_waiting(api, waiting_s)
        finally:
            _forget(record["seen"], 2 * LATENESS_S, record["since"])
            _forget(record["posted"], KEEP_S, record["since"])
            self._save()
            for outbox in self._outboxes:
                outbox.deliver(self._save)

    def _save(self) -> None:
        """Writes the record, if it has changed; a full disk, which may be the message, stops no delivery."""
        if (text := json.dumps(sealed(self._record))) != self._written:
            with suppress(InkflowError):
                write_text(self._path, text)
                self._written = text

    def _handle(self, event: Mapping[str, Any], api: httpx.Client) -> None:
        """Posts a failure, the first success after one, or a drift; remembers since when a run waits."""
        if event["event"] == DRIFT:
            self._post_drift(event)
            return
        related = {item["prefect.resource.role"]: item.get("prefect.resource.name") for item in event["related"]}
        deployment = related.get("deployment")
        if deployment is None or related.get("flow") == STAGE_FLOW:
            return
        resource, failing = event["resource"], self._record["failing"]
        name, state = resource["prefect.resource.name"], resource["prefect.state-name"]
        run = str(UUID(resource["prefect.resource.id"].removeprefix("prefect.flow-run.")))
        if state == WAITING:
            self._record["waiting"].setdefault(run, [event["occurred"], deployment, name])
            return
        self._record["waiting"].pop(run, None)
        if state == "Crashed" and _is_no_crash(api, run, event["occurred"], resource.get("prefect.state-message")):
            return
        message = _message(api, run, state, resource.get("prefect.state-message") or "")
        if state not in GOOD:
            self._post_failure(event["occurred"], (event["id"], deployment, run, name, state, message))
        elif deployment in failing:
            self._post(event["id"], deployment, run, name, state, f"works again: {message}".removesuffix(": "))
            del failing[deployment]

    def _post_drift(self, event: Mapping[str, Any]) -> None:
        """Posts the alarms of a watched model: the event is sent once for each, by any client of the server."""
        payload = event.get("payload")
        alarms = payload.get("alarms") if isinstance(payload, dict) else None
        named = [alarm for alarm in alarms if isinstance(alarm, dict)] if isinstance(alarms, list) else []
        message = mask("; ".join(str(alarm["sentence"]) for alarm in named if "sentence" in alarm))
        message = message or "no alarm is named"
        address = f"/events/event/{event['occurred'][:10]}/{event['id']}"
        name = str(event["resource"].get("prefect.resource.name", ""))
        self._post(event["id"], name, name, "watch", "Drift", message, address)

    def _post_waiting(self, api: httpx.Client, waiting_s: float) -> None:
        """Posts the runs that have waited for their turn longer than `waiting_s`."""
        waiting, now = self._record["waiting"], datetime.now(UTC)
        for run, (since, deployment, name) in list(waiting.items()):
            if now - datetime.fromisoformat(since) >= timedelta(seconds=waiting_s):
                response = api.get(f"/flow_runs/{run}")
                if response.is_server_error or response.status_code in NO_ANSWER:
                    continue  # it is asked again at the next poll
                if response.is_success and response.json()["state_name"] == WAITING:
                    message = f"waits for more than {waiting_s / 60:g} minutes: an earlier run has not ended"
                    key = f"{run}-waiting"
                    self._post_failure(now.isoformat(), (key, deployment, run, name, WAITING, message))
                del waiting[run]

    def _post_failure(self, occurred: str, content: tuple[str, str, str, str, str, str]) -> None:
        """Posts a failure, unless the same was posted of its run, or of its deployment within REPEAT_S."""
        _, deployment, run, _, state, message = content
        posted, failing, key = self._record["posted"], self._record["failing"], f"{run} {state}"
        recent = dict(failing.get(deployment, {}))
        _forget(recent, REPEAT_S, occurred)
        if key not in posted and f"{state} {message}" not in recent:
            self._post(*content)
            failing[deployment] = recent | {f"{state} {message}": occurred}
        posted[key] = occurred

    def _post(
        self, key: str, deployment: str, run: str, name: str, state: str, message: str, address: str | None = None
    ) -> None:
        """Adds a post for each receiver; `key` is the same for each try, so that a repetition can be dropped.

        The `address` on Prefect's page is that of the `run`, if it is None.
        """
        deployment, name, message = map(mask, (deployment, name, message))  # names that any client has given
        post = {
            "text": " ".join(filter(None, ["Inkflow:", deployment, state, message])),
            "deployment": deployment,
            "run": name,
            "state": state,
            "message": message,
            "url": self._api_url.removesuffix("/api") + (address or f"/runs/flow-run/{run}"),
            "key": key,
        }
        for waiting in self._record["waiting_posts"].values():
            waiting.append([datetime.now(UTC).isoformat(), post])


def _is_undecided(event: Mapping[str, Any]) -> bool:
    """Returns True for a run that was marked since it sent no heartbeat, until it had the time to send the next one."""
    is_silent = event["resource"].get("prefect.state-message") == SILENT
    return is_silent and _age_s(event["occurred"], datetime.now(UTC).isoformat()) < LIFE_SIGN_S


def _is_no_crash(api: httpx.Client, run: str, occurred: str, message: str | None) -> bool:
    """Returns True if `inkflow up` was stopped while the run ran, or if the run sent a heartbeat after its mark."""
    if message != SILENT:
        return message == STOPPED
    until = datetime.fromisoformat(occurred) + timedelta(seconds=LIFE_SIGN_S)  # later ones are of the next start
    sent = {
        "event": {"name": [HEARTBEAT_EVENT]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
        "occurred": {"since": occurred, "until": until.isoformat()},
    }
    if request(api, "POST", "/events/filter", filter=sent, limit=1).json()["events"]:
        return True
    states = request(api, "GET", f"/flow_run_states/?flow_run_id={run}").json()
    return any(state["message"] == STOPPED and _age_s(occurred, state["timestamp"]) >= 0 for state in states)


def _message(api: httpx.Client, run: str, state: str, message: str) -> str:
    """Returns the message of a run's state; for a late or crashed run also the reason, which Prefect's state lacks."""
    if state == "Late" and not message:
        return "no worker has started it since it was due"
    if state == "Crashed":
        of_run = {"flow_run_id": {"any_": [run]}, "level": {"ge_": ERROR_LEVEL}}
        logs = request(api, "POST", "/logs/filter", logs=of_run, sort="TIMESTAMP_DESC").json()
        message = crash_reason(message, [log["message"] for log in logs])
    return mask(message)


def _events(api: httpx.Client, since: datetime) -> Iterator[dict[str, Any]]:
    """Yields the events EVENT_NAMES of flow runs since a time, oldest first."""
    wanted = {"occurred": {"since": since.isoformat()}, "event": {"name": EVENT_NAMES}, "order": "ASC"}
    page = request(api, "POST", "/events/filter", filter=wanted).json()
    while True:
        yield from page["events"]
        if not page["next_page"]:
            return
        page = request(api, "GET", f"/events/filter/next?{httpx.URL(page['next_page']).query.decode()}").json()


def _read_record(path: Path) -> dict[str, Any]:
    """Returns the record in the file `path`; without a readable one, an empty record that begins now."""
    record: dict[str, Any] = {
        "since": _latest(),  # nothing earlier is posted
        "seen": {},  # when each event occurred that was handled, by its id
        "posted": {},  # when each failure was posted, by run and state
        "failing": {},  # failures of each deployment that has not succeeded since, with the time of each post
        "waiting": {},  # since when a run waits, by its id, with its deployment and name
        "waiting_posts": {},  # what each receiver has not accepted yet, by its key: since when, and the post
    }

    def checked(content: dict[str, Any]) -> dict[str, Any]:
        # an earlier version recorded no waiting posts, and of each deployment the last failure alone
        if content.keys() | {"waiting_posts"} != record.keys():
            raise ValueError("it has another form")
        for name, found in content["failing"].items():
            content["failing"][name] = found if isinstance(found, dict) else dict([found])
        _check_times(record | content)
        return record | content

    return read_kept(path, "what waited to be posted is lost, and nothing before now is posted", checked) or record


def _check_times(record: Mapping[str, Any]) -> None:
    """Raises a ValueError, TypeError or AttributeError if a time in `record` is none, or has no zone."""
    waiting = [since for since, _, _ in record["waiting"].values()]
    failing = [since for posts in record["failing"].values() for since in posts.values()]
    posts = [since for entries in record["waiting_posts"].values() for since, _ in entries]
    for time in (record["since"], *record["seen"].values(), *record["posted"].values(), *waiting, *failing, *posts):
        _age_s(time, _latest())


def _latest() -> str:
    """Returns the time from which on all events are new: those that come late are looked for from LATENESS_S before."""
    return (datetime.now(UTC) + timedelta(seconds=LATENESS_S)).isoformat()


def _forget(times: dict[str, str], age_s: float, now: str) -> None:
    """Removes the entries of `times` that are older than `age_s`."""
    for key, occurred in list(times.items()):
        if _age_s(occurred, now) > age_s:
            del times[key]


def _age_s(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
