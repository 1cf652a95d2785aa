"""The events of alarms, on servers on loopback that keep them or refuse them."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.core.alarms import RECORDS
from flows.tasks.drift_events import MAX_KNOWN, send_alarms
from stages.base.errors import InkflowError
from tests.support.loopback import JsonHandler, serving


class _Refusing(JsonHandler, BaseHTTPRequestHandler):
    """A Prefect server on which another process has just made the variable."""

    def do_GET(self) -> None:
        self.answer(404, {"detail": "no such variable"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(409 if self.path.startswith("/variables") else 201, {})


class _Keeping(JsonHandler, BaseHTTPRequestHandler):
    """A Prefect server that keeps variables and events."""

    variables: ClassVar[dict[str, dict[str, Any]]]
    events: ClassVar[list[Any]]

    def do_GET(self) -> None:
        found = self.variables.get(self.path.rpartition("/")[2])
        self.answer(200 if found else 404, found or {"detail": "no such variable"})

    def do_POST(self) -> None:
        content = self._content()
        if self.path.startswith("/variables"):
            self.variables[content["name"]] = content = content | {"id": str(UUID(int=1))}
        else:
            self.events.extend(content)
        self.answer(201, content)

    def do_PATCH(self) -> None:
        self.variables[self.path.rpartition("/")[2]] |= self._content()
        self.answer(204, {})

    def _content(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))


@pytest.fixture
def server() -> Iterator[type[_Keeping]]:
    """A server without variables and events."""
    handler = type("Handler", (_Keeping,), {"variables": {}, "events": []})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(http), temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{http.server_port}"}):
        yield handler


def watched(folder: Path, *ids: str) -> Path:
    """Writes the record of a model with these alarms into a folder, and returns the folder."""
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    alarms = [
        {"id": one, "statistic": "ink", "sentence": "too high", "since": "2026-11-28T09:00:00+00:00"} for one in ids
    ]
    record = {"model": "cnn", "version": "v1.0.0", "model_sha256": "0" * 64, "alarms": alarms}
    (folder / RECORDS / "one.json").write_text(json.dumps(record))
    return folder


def test_an_alarm_is_sent_once_from_each_of_two_folders(server: type[_Keeping], tmp_path: Path) -> None:
    """A model that is watched in two folders has alarms in both: neither forgets those of the other one."""
    one, two = watched(tmp_path / "one", "a"), watched(tmp_path / "two", "b")
    assert [[alarm.id for alarm in send_alarms(folder)] for folder in (one, two, one, two)] == [["a"], ["b"], [], []]
    watched(one, "a", "c")
    assert [[alarm.id for alarm in send_alarms(folder)] for folder in (one, two, one, two)] == [["c"], [], [], []]
    assert len(server.events) == 3


def test_the_known_alarms_are_bounded(server: type[_Keeping], tmp_path: Path) -> None:
    """Of very many alarms the oldest are forgotten: a variable of Prefect has up to 5,000 characters."""
    long = "0123456789ab.unlikeness.12.2026-11-28T09:00:00+00:00-"
    name, known = "inkflow_drift_000000000000", [f"{long}{number}" for number in range(MAX_KNOWN)]
    server.variables[name] = {"id": str(UUID(int=1)), "name": name, "value": known}
    assert len(send_alarms(watched(tmp_path, f"{long}-new"))) == 1
    assert server.variables[name]["value"] == [*known[1:], f"{long}-new"]
    assert len(json.dumps(server.variables[name]["value"])) < 5000


def test_a_variable_that_another_process_has_made(tmp_path: Path) -> None:
    """What Prefect's client raises of its own is one sentence too, so that a score that has finished does not crash."""
    watched(tmp_path, "a")
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    settings = temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{http.server_port}"})
    with serving(http), settings, pytest.raises(InkflowError, match="did not accept the event"):
        send_alarms(tmp_path)
