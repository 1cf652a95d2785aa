"""How stages are sent to a pool and followed, by a real Prefect server and no worker."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import LogCreate, WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.dispatch import FLOW, Dispatch
from flows.errors import Interrupted
from flows.policy import Workers
from flows.remote_lines import PAGE, Lines
from flows.remote_order import Order
from tests.conftest import wait_until
from tests.loopback import serving

pytestmark = pytest.mark.server

CREATE = "/create_flow_run"


@contextmanager
def losing_an_answer(url: str) -> Iterator[tuple[str, list[str]]]:
    """A way to the server on which the answer to the first creation of a run is lost; and each creation's path."""
    created: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._forward()

        def do_POST(self) -> None:
            self._forward()

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            target = f"{url}{self.path.removeprefix('/api')}"
            answer = httpx.request(self.command, target, content=body, headers=kept, timeout=60)
            if self.path.endswith(CREATE):
                created.append(self.path)
                if len(created) == 1:
                    self.close_connection = True
                    return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/api", created


@pytest.fixture
def client(prefect_url: str) -> Iterator[SyncPrefectClient]:
    """A client of the session's server."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        yield client


def deployed(client: SyncPrefectClient) -> str:
    """Name of a new pool, with a deployment for it and no worker."""
    pool = f"pool-{uuid4().hex[:8]}"
    client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow = client.create_flow_from_name(FLOW)
    client.create_deployment(flow, pool, work_pool_name=pool)
    return pool


def runs_of(client: SyncPrefectClient, pool: str) -> list[Any]:
    """The runs that were sent to the pool."""
    return [run for run in client.read_flow_runs() if any(tag.endswith(f" in {pool}") for tag in run.tags)]


def test_a_lost_answer_leaves_no_run_behind(prefect_url: str, client: SyncPrefectClient) -> None:
    """The server made the run, and its answer was lost: no second one is made, and Ctrl-C cancels the one there is."""
    pool, ended, said = deployed(client), threading.Event(), list[str]()
    order = Order(stage="s", run_key=uuid4().hex, source="here", commit="0" * 40)
    with losing_an_answer(prefect_url) as (url, created), temporary_settings({PREFECT_API_URL: url}):
        dispatch = Dispatch(Workers(), url)
        with ThreadPoolExecutor() as threads:
            carried = threads.submit(dispatch.carry, order, pool, said.append, ended)
            try:
                wait_until(lambda: bool(said) or carried.done(), timeout_s=60)
            finally:
                ended.set()
            with pytest.raises(Interrupted):
                carried.result(60)
        assert created
    assert said == [f"sent to the pool {pool}"]
    (run,) = runs_of(client, pool)
    assert run.state.is_cancelled() or run.state.is_cancelling()
    assert sorted(run.tags) == sorted(["inkflow", f"s {order.run_key[:16]} in {pool}"])


def test_each_line_is_read_once(client: SyncPrefectClient) -> None:
    """More lines than a page, many at the same time, some late, between lines of others: each once, and in order."""
    run, began = uuid4(), datetime.now(UTC)

    def write(*said: tuple[int, str], name: str = "prefect.flow_runs.stage") -> None:
        logs = [
            LogCreate(name=name, level=20, message=text, timestamp=began + timedelta(microseconds=at), flow_run_id=run)
            for at, text in said
        ]
        client.create_logs(logs)

    lines = Lines(UUID(str(run)))
    assert lines.new(client) == []
    count = 2 * PAGE + 50
    write(*[(at - at % 7, f"line {at}") for at in range(count)])
    write((3, "Prefect's own"), name="prefect.flow_runs")
    read = lines.new(client)
    assert sorted(read) == sorted(f"line {at}" for at in range(count))
    assert [int(line.split()[1]) // 7 for line in read] == [at // 7 for at in range(count)]
    assert lines.new(client) == []
    write((10_000_000, "last"), (9_000_000, "late"))
    assert lines.new(client) == ["late", "last"]
    write((8_500_000, "later"), (10_000_000, "at the same time"))
    assert lines.new(client) == ["later", "at the same time"]
    assert lines.new(client) == []
