"""The webhook of `inkflow up`: tells each failure once, and that a deployment works again."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Failed, Late, Running, Scheduled

from flows.core.alarms import DRIFT
from flows.prefect_server.crashes import HEARTBEAT_EVENT, SILENT, STOPPED
from flows.prefect_server.notifications.notifier import WAITING, Notifier
from flows.prefect_server.notifications.receivers import Webhook
from tests.conftest import wait_until
from tests.support.http_receiver import Receiver
from tests.support.loopback import JsonHandler, serving

pytestmark = pytest.mark.server


class Told:
    """A notifier of a real server and a receiver; the test calls `poll` instead of the thread."""

    def __init__(
        self, url: str, client: SyncPrefectClient, api: httpx.Client, receiver: Receiver, folder: Path
    ) -> None:
        self.client, self._api, self.receiver = client, api, receiver
        self._arguments = (url, None, folder / "notified.json")
        self._hook = Webhook(f"http://127.0.0.1:{receiver.port}/hook")
        self.restart()

    def restart(self) -> None:
        """Starts over with what the file has, as the next `inkflow up` does."""
        self._notifier = Notifier(*self._arguments)
        self._notifier.set_receivers([self._hook])

    @property
    def record(self) -> dict[str, Any]:
        """What the notifier remembers."""
        return self._notifier._record

    def create_run(self, deployment: str, flow_name: str = "told") -> UUID:
        """Creates a run of a deployment without pool."""
        flow_id = self.client.create_flow(Flow(lambda: None, name=flow_name))
        identifier = self.client.create_deployment(flow_id, deployment)
        return self.client.create_flow_run_from_deployment(identifier).id

    def set_state(self, run: UUID, state: State[Any]) -> None:
        """Sets the state of a run, and waits until the server has stored the event of it."""
        result = self.client.set_flow_run_state(run, state, force=True)
        assert result.state is not None
        wanted = {"id": {"id": [str(result.state.id)]}}
        wait_until(lambda: self._api.post("/events/filter", json={"filter": wanted}).json()["total"], timeout_s=60)

    def send(self, events: list[dict[str, Any]]) -> None:
        """Sends events as any client can, and waits until the server has stored them."""
        assert self._api.post("/events", json=events).is_success
        wanted = {"id": {"id": [event["id"] for event in events]}}
        total = len(events)
        wait_until(
            lambda: self._api.post("/events/filter", json={"filter": wanted}).json()["total"] == total, timeout_s=60
        )

    def poll(self, waiting_s: float = 600) -> list[tuple[str, str, str]]:
        """Polls once, and returns deployment, state and message of each new post."""
        before = len(self.receiver.posted)
        self._notifier.poll(self._api, waiting_s)
        return [(post["deployment"], post["state"], post["message"]) for post in self.receiver.posted[before:]]


@pytest.fixture
def told(prefect_url: str, tmp_path: Path) -> Iterator[Told]:
    """A notifier with its receiver."""
    settings = temporary_settings({PREFECT_API_URL: prefect_url})
    with (
        settings, get_client(sync_client=True) as client, httpx.Client(base_url=prefect_url, timeout=240) as api,
        Receiver().running() as receiver,
    ):  # fmt: skip
        yield Told(prefect_url, client, api, receiver, tmp_path)


RECORD = {"since": "2026-01-01T00:00:00+00:00", "seen": {}, "posted": {}, "failing": {}, "waiting": {}}


@pytest.mark.parametrize(
    ("record", "is_kept"),
    [
        (RECORD | {"seen": {"a": "2026-01-01T00:00:00+00:00"}}, True),
        ({}, False),
        ([1], False),
        (RECORD | {"since": "2026-01-01"}, False),
        (RECORD | {"seen": {"a": 5}}, False),
        (RECORD | {"posted": {"a": "yesterday"}}, False),
        (RECORD | {"failing": {"a": {"b": None}}}, False),
        (RECORD | {"waiting": {"a": ["2026-01-01T00:00:00+00:00"]}}, False),
        (RECORD | {"waiting_posts": {"a": [["yesterday", {}]]}}, False),
    ],
)
def test_a_damaged_record_begins_now(tmp_path: Path, record: Any, is_kept: bool) -> None:
    """A record with a time that is none, or of another form, is replaced by an empty one; a right one is kept."""
    path = tmp_path / "notified.json"
    path.write_text(json.dumps(record))
    found = Notifier("http://127.0.0.1:9/api", None, path)._record
    assert (found["since"] == RECORD["since"]) == is_kept
    assert bool(found["seen"]) == is_kept
    path.write_text("[" * 100_000)
    assert Notifier("http://127.0.0.1:9/api", None, path)._record["seen"] == {}


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    "payload",
    [
        {"alarms": [{"statistic": "ink"}]},
        *({"alarms": alarms} for alarms in (3, ["x", None], {"a": 1})),
        {},
    ],
)
def test_an_event_of_another_form_ends_nothing(told: Told, prefect_url: str, payload: dict[str, Any]) -> None:
    """A drift event that some client sent in another form is one post without alarms, and what follows is told too."""
    event = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": DRIFT, "payload": payload}
    event |= {"resource": {"prefect.resource.id": "inkflow.model.of-a-client"}}
    later = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()  # events of one time have no order
    good = {"id": str(uuid4()), "occurred": later, "payload": {"alarms": [{"sentence": "ink is higher"}]}}
    told.send([event, event | good])
    assert [post for post in told.poll() if post[1] == "Drift"] == [
        ("", "Drift", "no alarm is named"), ("", "Drift", "ink is higher")
    ]  # fmt: skip
    assert told.poll() == []


@pytest.mark.farm
def test_a_run_without_a_name_ends_nothing(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """An event of a run that lacks a part is skipped with a line, also after a restart; the next one is told."""
    event: dict[str, Any] = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.Failed",
        "resource": {"prefect.resource.id": "prefect.flow-run.x"},
        "related": [{"prefect.resource.id": "d", "prefect.resource.role": "deployment", "prefect.resource.name": "d"}],
        "payload": {},
    }
    drift = {"id": str(uuid4()), "event": DRIFT, "payload": {}, "resource": {"prefect.resource.id": "m"}}
    told.send([event, event | drift])
    assert [post[1] for post in told.poll()] == ["Drift"]
    assert f"The event {event['id']} cannot be read (KeyError(" in capsys.readouterr().out
    told.restart()
    assert told.poll() == []


@pytest.mark.farm
def test_each_failure_is_told_once_and_so_is_the_recovery(told: Told) -> None:
    """A failed run is one post, also after a restart; no recent failure is repeated; a success ends it."""
    first, second, third, fourth = (told.create_run("score") for _ in range(4))
    told.set_state(first, Failed(message="no model"))
    assert told.poll() == [("score", "Failed", "no model")]
    told.restart()
    told.set_state(second, Failed(message="no model"))
    assert told.poll() == []
    told.set_state(third, Failed(message="no inbox"))
    assert told.poll() == [("score", "Failed", "no inbox")]
    told.set_state(fourth, Failed(message="no model"))
    assert told.poll() == []
    told.set_state(third, Completed(message="3 files scored"))
    assert told.poll() == [("score", "Completed", "works again: 3 files scored")]
    told.set_state(second, Completed())
    assert told.poll() == []
    keys = [post["key"] for post in told.receiver.posted]
    assert len(set(keys)) == 3
    assert [headers["Idempotency-Key"] for headers in told.receiver.headers] == keys


@pytest.mark.farm
def test_clocks_that_differ(told: Told) -> None:
    """A failure is told although this machine's clock was ahead, and an alarm of a client that is behind, too."""
    told.record["since"] = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    assert told.poll() == []
    run = told.create_run("clocks")
    told.set_state(run, Failed(message="no model"))
    assert told.poll() == [("clocks", "Failed", "no model")]
    told.record["since"] = datetime.now(UTC).isoformat()
    behind = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    event: dict[str, Any] = {"id": str(uuid4()), "occurred": behind, "event": DRIFT}
    event |= {"resource": {"prefect.resource.id": "m"}, "payload": {"alarms": [{"sentence": "ink is higher"}]}}
    told.send([event])
    assert ("", "Drift", "ink is higher") in told.poll()


@pytest.mark.farm
def test_late_and_waiting_runs_are_told_with_a_reason(told: Told) -> None:
    """A late run has a message; a run that waits for its turn is told after a time, if it still waits."""
    late, waits, waited = (told.create_run(name) for name in ("watch-data", "nightly", "nightly"))
    told.set_state(late, Late())
    assert told.poll() == [("watch-data", "Late", "no worker has started it since it was due")]
    for run in (waits, waited):
        told.set_state(run, Scheduled(name=WAITING))
    assert told.poll() == []
    told.set_state(waited, Running())
    message = "waits for more than 0 minutes: an earlier run has not ended"
    assert told.poll(waiting_s=0) == [("nightly", WAITING, message)]
    assert told.poll(waiting_s=0) == []


class FakeApi(JsonHandler):
    """Prefect's API without events, with a run whose answers a test sets."""

    answers: ClassVar[list[tuple[int, object]]]

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Answers without events."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"events": [], "next_page": None})

    def do_GET(self) -> None:  # noqa: N802
        """Answers as the test wants."""
        self.answer(*type(self).answers.pop(0))


@pytest.mark.parametrize(("last", "posts"), [((200, {"state_name": WAITING}), 1), ((404, {}), 0), ((422, {}), 0)])
def test_a_waiting_run_outlasts_a_bad_answer(tmp_path: Path, last: tuple[int, object], posts: int) -> None:
    """A waiting run is asked for again after an answer that says nothing of it, until it is told or gone."""

    class Api(FakeApi):
        answers: ClassVar[list[tuple[int, object]]] = [(500, {}), (503, {}), (429, {}), last]

    http = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    url = f"http://127.0.0.1:{http.server_port}/api"
    (tmp_path / "notified.json").write_text(
        json.dumps(RECORD | {"waiting": {"run": ["2026-01-01T00:00:00+00:00", "nightly", "name"]}})
    )
    with serving(http), Receiver().running() as receiver, httpx.Client(base_url=url, timeout=240) as api:
        notifier = Notifier(url, None, tmp_path / "notified.json")
        notifier.set_receivers([Webhook(f"http://127.0.0.1:{receiver.port}/hook")])
        for _ in range(3):
            notifier.poll(api)
            assert "run" in notifier._record["waiting"] and not receiver.posted
        notifier.poll(api)
        assert not notifier._record["waiting"] and len(receiver.posted) == posts


@pytest.mark.farm
def test_repeated_crash_of_a_run_is_one_post(told: Told) -> None:
    """A run that crashes again is not told again; a run of a single stage is left to the run that sent the stage."""
    run, stage = told.create_run("nightly-2"), told.create_run("gpu", "train-stage")
    for number in range(3):
        told.set_state(run, Crashed(message=f"exit {number}"))
    told.set_state(stage, Failed(message="x"))
    assert told.poll() == [("nightly-2", "Crashed", "exit 0")]


def test_a_run_that_lives_or_was_stopped_is_not_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a heartbeat is told once it is known to be dead; one that lives or ended with a stop is not."""
    lives, stopped, dead = (told.create_run(name) for name in ("lives", "stopped", "dead"))
    told.set_state(stopped, Crashed(message=STOPPED))
    for run in (lives, dead):
        told.set_state(run, Crashed(message=SILENT))
    assert told.poll() == []
    resource = {"prefect.resource.id": f"prefect.flow-run.{lives}"}
    mark = told.client.read_flow_run(lives).state
    assert mark is not None
    occurred = (mark.timestamp + timedelta(seconds=0.5)).isoformat()
    told.send([{"id": str(uuid4()), "occurred": occurred, "event": HEARTBEAT_EVENT, "resource": resource}])
    for run in (stopped, lives):
        told.set_state(run, Running())
    told.set_state(stopped, Crashed(message=SILENT))  # by the server's automation, before `inkflow up` marks it
    told.set_state(stopped, Crashed(message=STOPPED))
    monkeypatch.setattr("flows.prefect_server.notifications.notifier.LIFE_SIGN_S", 1.0)  # a minute otherwise
    time.sleep(1.1)
    assert told.poll() == [("dead", "Crashed", SILENT)]


@pytest.mark.farm
def test_webhook_that_does_not_answer_is_called_again(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """What the receiver did not take is sent later, in order and with the same key; the address is not printed."""
    run = told.create_run("nightly-3")
    told.set_state(run, Failed(message="first"))
    told.receiver.status = 503
    assert told.poll() == [("nightly-3", "Failed", "first")]
    told.restart()  # what waits outlives the process
    told.receiver.status = 204
    told.set_state(run, Crashed(message="second"))
    assert told.poll() == [("nightly-3", "Failed", "first"), ("nightly-3", "Crashed", "second")]
    assert told.receiver.posted[0]["key"] == told.receiver.posted[1]["key"]
    printed = capsys.readouterr().out
    assert printed.startswith("The webhook cannot be called: it answered 503; it is tried again")
    assert "hook/" not in printed
    assert "127.0.0.1" not in printed
