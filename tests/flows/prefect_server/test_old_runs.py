"""`inkflow prune` on a Prefect server: it retries while the server's SQLite database is locked."""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.core.file_lock import exclusive_lock
from flows.prefect_server.credentials import ADDRESS_FILE, HOME, LOCK
from flows.prefect_server.database import DATABASE_FILE
from flows.prefect_server.environment import DATABASE
from flows.prefect_server.old_runs import prune_flow_runs
from flows.prefect_server.server import HOME as RUN_HOME
from flows.prefect_server.server import HOME_LOCK
from tests.support.loopback import JsonHandler, serving

SECOND_HOME = Path(f"{RUN_HOME}-2")
REFUSALS = 2  # of each request, before it succeeds


class PrefectApi:
    """A server with three flow runs that answers each request with the status `code` a few times first."""

    def __init__(self, code: int) -> None:
        self.runs = {"one", "two", "three"}
        self.requests: Counter[str] = Counter()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, code))
        self.serving = serving(self._http)
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"

    def respond(self, request: str) -> object:
        """Returns the response of Prefect's API; removes up to two runs with a request of `bulk_delete`."""
        if request == "POST /api/flow_runs/count":
            return len(self.runs)
        deleted = sorted(self.runs)[:2]
        self.runs.difference_update(deleted)
        return {"deleted": deleted}


def _handler(api: PrefectApi, code: int) -> type[BaseHTTPRequestHandler]:
    class Handler(JsonHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, True)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._respond()

        def _respond(self) -> None:
            request = f"{self.command} {self.path}"
            api.requests[request] += 1
            if api.requests[request] <= REFUSALS:
                self.answer(code, {"exception_message": "Service Unavailable"})
            else:
                self.answer(200, api.respond(request))

    return Handler


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project folder with the folder of `inkflow up`."""
    (tmp_path / HOME).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def busy(root: Path) -> Iterator[PrefectApi]:
    """A running server that answers 503 at first."""
    api = PrefectApi(503)
    with api.serving, exclusive_lock(root / LOCK):  # as `inkflow up` holds it
        (root / HOME / ADDRESS_FILE).write_text(api.url)
        yield api


def test_requests_to_a_busy_server_are_repeated(root: Path, busy: PrefectApi) -> None:
    """Every old run is removed and counted, although the server refuses each request at first; progress is shown."""
    progress: list[str] = []
    result = prune_flow_runs(root, timedelta(), dry_run=False, log=progress.append)
    assert (result.flow_runs, result.note, busy.runs) == (3, None, set())
    assert progress == ["Prefect: 2 of 3 flow runs removed ..."]
    assert set(busy.requests) == {"POST /api/flow_runs/count", "POST /api/flow_runs/bulk_delete"}


def test_an_error_of_the_server_is_reported(root: Path) -> None:
    """An error other than 503 is not retried: the note names it, and no run is counted or removed."""
    api = PrefectApi(500)
    with api.serving, exclusive_lock(root / LOCK):  # as `inkflow up` holds it
        (root / HOME / ADDRESS_FILE).write_text(api.url)
        result = prune_flow_runs(root, timedelta(), dry_run=False)
    assert (result.flow_runs, api.runs) == (0, {"one", "two", "three"})
    assert result.note is not None
    assert "could not be pruned" in result.note
    assert "500" in result.note


def test_server_at_the_address_of_a_killed_up_is_left_alone(root: Path) -> None:
    """A killed `inkflow up` leaves its address; another server there gets no request and no password."""
    api = PrefectApi(503)
    with api.serving:
        (root / HOME / ADDRESS_FILE).write_text(api.url)
        assert prune_flow_runs(root, timedelta(), dry_run=False).flow_runs == 0
    assert api.runs == {"one", "two", "three"} and not api.requests


@pytest.mark.parametrize(
    ("home", "lock"), [(HOME, LOCK), (RUN_HOME, RUN_HOME / HOME_LOCK), (SECOND_HOME, SECOND_HOME / HOME_LOCK)]
)
def test_a_database_in_use_is_left_alone(root: Path, home: Path, lock: Path) -> None:
    """No second server starts on the database of a run, or of an `inkflow up` that does not answer; a note tells."""
    (root / home).mkdir(parents=True, exist_ok=True)
    (root / home / DATABASE_FILE).touch()
    with exclusive_lock(root / lock):
        for dry_run in (True, False):
            result = prune_flow_runs(root, timedelta(), dry_run)
            assert result.flow_runs == 0
            assert result.note == (f"those in {home} stay, since another process uses the database; prune again later")
    assert (root / home / DATABASE_FILE).stat().st_size == 0


@pytest.mark.server
@pytest.mark.farm
def test_another_database_is_left_alone(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the database in the project's folder is pruned, not the one that the environment configures for a server."""
    (root / HOME / "prefect.db").touch()
    monkeypatch.setenv(DATABASE, f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")
    result = prune_flow_runs(root, timedelta(), dry_run=True)
    assert (result.flow_runs, result.note) == (0, None)
    assert not (tmp_path / "other.db").exists()
    assert (root / HOME / "prefect.db").stat().st_size > 0
    assert os.environ[DATABASE].endswith("other.db")
