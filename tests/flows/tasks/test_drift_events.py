"""The events of alarms, on a server on loopback that refuses them."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.core.alarms import RECORDS
from flows.tasks.drift_events import send_alarms
from stages.base.errors import InkflowError
from tests.support.loopback import JsonHandler, serving


class _Refusing(JsonHandler, BaseHTTPRequestHandler):
    """A Prefect server on which another process has just made the variable."""

    def do_GET(self) -> None:
        self.answer(404, {"detail": "no such variable"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(409 if self.path.startswith("/variables") else 201, {})


def test_a_variable_that_another_process_has_made(tmp_path: Path) -> None:
    """What Prefect's client raises of its own is one sentence too, so that a score that has finished does not crash."""
    (tmp_path / RECORDS).mkdir(parents=True)
    alarm = {"id": "a", "statistic": "ink", "sentence": "too high", "since": "2026-11-28T09:00:00+00:00"}
    record = {"model": "cnn", "version": "v1.0.0", "model_sha256": "0" * 64, "alarms": [alarm]}
    (tmp_path / RECORDS / "one.json").write_text(json.dumps(record))
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    settings = temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{http.server_port}"})
    with serving(http), settings, pytest.raises(InkflowError, match="did not accept the event"):
        send_alarms(tmp_path)
