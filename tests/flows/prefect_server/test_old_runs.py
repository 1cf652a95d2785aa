"""`inkflow prune` and a Prefect server that is busy: what its SQLite could not do now it does a moment later."""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.prefect_server.environment import DATABASE
from flows.prefect_server.old_runs import prune_records
from flows.prefect_server.up_settings import ADDRESS, STATE
from tests.support.loopback import JsonHandler, serving

REFUSALS = 2  # of each request, before it is answered


class Records:
    """Flow runs by their ids, behind a server that says 503 to each request a few times first."""

    def __init__(self, code: int) -> None:
        self.runs = {"one", "two", "three"}
        self.refused: Counter[str] = Counter()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, code))
        self.serving = serving(self._http)
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"

    def answer(self, request: str) -> object:
        """What Prefect's API answers."""
        if request == "POST /api/flow_runs/count":
            return len(self.runs)
        if request == "POST /api/flow_runs/filter":
            return [{"id": name} for name in sorted(self.runs)]
        self.runs.remove(request.removeprefix("DELETE /api/flow_runs/"))
        return None


def _handler(records: Records, code: int) -> type[BaseHTTPRequestHandler]:
    class Handler(JsonHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, True)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._do()

        def do_DELETE(self) -> None:
            self._do()

        def _do(self) -> None:
            request = f"{self.command} {self.path}"
            records.refused[request] += 1
            if records.refused[request] <= REFUSALS:
                self.answer(code, {"exception_message": "Service Unavailable"})
            else:
                self.answer(200, records.answer(request))

    return Handler


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project's folder in which `inkflow up` runs, as far as can be seen there."""
    (tmp_path / STATE).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def busy(root: Path) -> Iterator[Records]:
    """A server that is busy for a moment."""
    records = Records(503)
    with records.serving:
        (root / STATE / ADDRESS).write_text(records.url)
        yield records


def test_a_busy_server_is_asked_again(root: Path, busy: Records) -> None:
    """Every old run goes, and is counted, although each request is refused at first."""
    found = prune_records(root, timedelta(), dry_run=False)
    assert (found.flow_runs, found.note, busy.runs) == (3, None, set())
    assert set(busy.refused) > {"POST /api/flow_runs/count", "DELETE /api/flow_runs/one"}


def test_a_server_that_refuses_is_told_of(root: Path) -> None:
    """An answer that will not change by waiting is not waited for: the note says it, and nothing is counted."""
    records = Records(500)
    with records.serving:
        (root / STATE / ADDRESS).write_text(records.url)
        found = prune_records(root, timedelta(), dry_run=False)
    assert (found.flow_runs, records.runs) == (0, {"one", "two", "three"})
    assert found.note is not None
    assert "could not be looked at" in found.note
    assert "500" in found.note


@pytest.mark.server
def test_another_database_is_left_alone(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that the environment names for a server of its own is not looked into: only the records in the folder
    are the project's.
    """
    (root / STATE / "prefect.db").touch()
    monkeypatch.setenv(DATABASE, f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")
    found = prune_records(root, timedelta(), dry_run=True)
    assert (found.flow_runs, found.note) == (0, None)
    assert not (tmp_path / "other.db").exists()
    assert (root / STATE / "prefect.db").stat().st_size > 0
    assert os.environ[DATABASE].endswith("other.db")
