"""Dispatches and monitors stages with a real Prefect server and no worker."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate, LogCreate, WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Running

from flows.core.errors import Interrupted, PoolFailed
from flows.engine.policy import Workers
from flows.workers.dispatch import FLOW, Dispatcher
from flows.workers.log_reader import PAGE_SIZE, LogReader
from flows.workers.order import Order
from flows.workers.run_monitor import POLL_S
from flows.workers.stage_report import ARTIFACT_TYPE, ExitStatus, Report
from tests.conftest import wait_until
from tests.flows.workers.faulty_proxy import FaultyProxy

pytestmark = pytest.mark.server

SHORT_TIMEOUTS = Workers(lost_after_s=5, pool_wait_s=600, resends=0)


@pytest.fixture
def client(prefect_url: str) -> Iterator[SyncPrefectClient]:
    """Return a client of the session's server."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        yield client


def create_pool(client: SyncPrefectClient) -> str:
    """Create a pool with a deployment and no worker, and return its name."""
    pool = f"pool-{uuid4().hex[:8]}"
    client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow = client.create_flow_from_name(FLOW)
    client.create_deployment(flow, pool, work_pool_name=pool)
    return pool


def runs_of(client: SyncPrefectClient, pool: str) -> list[Any]:
    """Return the runs that were sent to the pool."""
    return [run for run in client.read_flow_runs() if any(tag.endswith(f" in {pool}") for tag in run.tags)]


class DispatchedOrder:
    """An order that a thread dispatches.

    Attributes:
        messages: lines that the dispatcher logged.
        cancelled: cancels the order once set.
        future: the name of the worker that completed the order, or the error.
    """

    def __init__(self, dispatcher: Dispatcher, pool: str, threads: ThreadPoolExecutor, remote: str, key: str) -> None:
        self.order = Order(stage="s", run_key=key or uuid4().hex, source="here", commit="0" * 40, remote=remote)
        self.messages, self.cancelled = list[str](), threading.Event()
        self.future = threads.submit(dispatcher.run, self.order, pool, self.messages.append, self.cancelled)

    def wait_until_sent(self) -> None:
        """Wait until the dispatcher has logged that the order was sent, or has failed."""
        wait_until(lambda: bool(self.messages) or self.future.done(), timeout_s=60)


@contextmanager
def dispatched(
    proxy: FaultyProxy, pool: str, workers: Workers, remote: str = "r", key: str = ""
) -> Iterator[DispatchedOrder]:
    """Dispatch an order to `pool` through the `proxy`, and cancel it when the block ends."""
    with temporary_settings({PREFECT_API_URL: proxy.url}), ThreadPoolExecutor() as threads:
        dispatch = DispatchedOrder(Dispatcher(workers, proxy.url), pool, threads, remote, key)
        try:
            yield dispatch
        finally:
            dispatch.cancelled.set()
            proxy.is_open.set()


@pytest.mark.farm
def test_a_lost_response_leaves_no_second_run(prefect_url: str, client: SyncPrefectClient) -> None:
    """If the response to the creation of a run is lost, no second run is created, and Ctrl-C cancels the first."""
    pool = create_pool(client)
    with FaultyProxy(prefect_url).running() as proxy:
        proxy.drop_first_creation = True
        with dispatched(proxy, pool, Workers()) as dispatch:
            dispatch.wait_until_sent()
            dispatch.cancelled.set()
            with pytest.raises(Interrupted):
                dispatch.future.result(240)
        assert proxy.create_count
    assert dispatch.messages == [f"sent to the pool {pool}"]
    (run,) = runs_of(client, pool)
    assert run.state.is_cancelled() or run.state.is_cancelling()
    assert sorted(run.tags) == sorted(["inkflow", f"s {dispatch.order.run_key[:16]} for r in {pool}"])


@pytest.mark.cases(1)
@pytest.mark.parametrize(("code", "message"), [(500, None), (409, "s: the Prefect server refuses the run: .*409")])
def test_error_responses(code: int, message: str | None, prefect_url: str, client: SyncPrefectClient) -> None:
    """A server error is retried; a refused request fails the stage with the server's message."""
    pool = create_pool(client)
    with FaultyProxy(prefect_url).running() as proxy:
        proxy.first_creation_status = code
        with dispatched(proxy, pool, Workers()) as dispatch:
            dispatch.wait_until_sent()
            if message:
                with pytest.raises(PoolFailed, match=message):
                    dispatch.future.result(240)
            else:
                assert dispatch.messages == [f"sent to the pool {pool}"]


class FakeClock:
    """The clock of all run monitors, which only a test advances, however busy the machine is."""

    def __init__(self) -> None:
        # Whole seconds: with a fraction, `now + 600 - now` may be more than 600.
        self._now, self._sleeps = float(round(time.monotonic())), 0
        self._other_threads = set(threading.enumerate())  # monitors of earlier tests still run

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self._now

    def sleep(self, _: float) -> None:
        """Count a poll of the test's own monitor, and wait for a short real time."""
        self._sleeps += threading.current_thread() not in self._other_threads
        time.sleep(0.02)

    def wait_for_poll(self) -> None:
        """Wait until a poll has ended that began after this call."""
        sleeps = self._sleeps
        wait_until(lambda: self._sleeps >= sleeps + 2, timeout_s=60)

    def tick(self, seconds: float) -> None:
        """Advance the clock in steps of the poll interval, with a poll after each."""
        for _ in range(round(seconds / POLL_S)):
            self._now += POLL_S
            self.wait_for_poll()

    def jump(self, seconds: float) -> None:
        """Advance the clock in one step."""
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Replace the clock of all run monitors."""
    clock = FakeClock()
    monkeypatch.setattr("flows.workers.run_monitor.time", clock)
    return clock


class FakeWorker:
    """Sends the reports and states of a worker for the only run of a pool."""

    def __init__(self, client: SyncPrefectClient, pool: str) -> None:
        (run,) = runs_of(client, pool)
        self._client, self._run, self._report = client, run.id, Report("fake", "s")
        client.set_flow_run_state(run.id, Running(), force=True)
        artifact = ArtifactCreate(type=ARTIFACT_TYPE, data=self._report.to_table(), flow_run_id=run.id)
        self._artifact_id = client.create_artifact(artifact).id

    def send_report(self, ending: ExitStatus = ExitStatus.NONE) -> None:
        """Send the next report."""
        self._report = replace(self._report, beat=self._report.beat + 1, ending=ending)
        self._client.update_artifact(self._artifact_id, ArtifactUpdate(data=self._report.to_table()))

    def state(self) -> str:
        """Return the state of the run on the server."""
        state = self._client.read_flow_run(self._run).state
        return state.type.value if state else ""

    def set_state(self, state: State[Any]) -> None:
        """Set the state of the run."""
        self._client.set_flow_run_state(self._run, state, force=True)


@pytest.mark.farm
def test_no_worker_is_lost_during_an_outage(prefect_url: str, client: SyncPrefectClient, clock: FakeClock) -> None:
    """A worker is not lost if the server is unreachable for longer than `lost_after_s`, and the worker, which backs
    off, sends its next heartbeat some time after the server is back.
    """
    pool = create_pool(client)
    with FaultyProxy(prefect_url).running() as proxy, dispatched(proxy, pool, SHORT_TIMEOUTS) as dispatch:
        dispatch.wait_until_sent()
        worker = FakeWorker(client, pool)
        clock.wait_for_poll()
        proxy.is_open.clear()
        clock.tick(SHORT_TIMEOUTS.lost_after_s + 4)
        proxy.is_open.set()
        clock.tick(SHORT_TIMEOUTS.lost_after_s + 3)
        assert worker.state() == "RUNNING"
        worker.send_report(ExitStatus.DONE)
        worker.set_state(Completed())
        assert dispatch.future.result(240) == "fake"


@pytest.mark.farm
@pytest.mark.parametrize(
    "request_for",
    ["/flow_runs/filter", *(pytest.param(f"/{name}/filter", marks=pytest.mark.farm) for name in ("artifacts", "logs"))],
)
def test_no_worker_is_lost_while_the_server_hangs(
    request_for: str, prefect_url: str, client: SyncPrefectClient, clock: FakeClock
) -> None:
    """A worker is not lost if the server does not respond for longer than `lost_after_s`. It is lost if it sends no
    heartbeat after the server responds again.
    """
    pool = create_pool(client)
    with FaultyProxy(prefect_url).running() as proxy, dispatched(proxy, pool, SHORT_TIMEOUTS) as dispatch:
        dispatch.wait_until_sent()
        worker = FakeWorker(client, pool)
        clock.wait_for_poll()
        proxy.held_path = request_for
        proxy.is_open.clear()
        wait_until(lambda: proxy.held_count > 0, timeout_s=60)
        clock.jump(2 * SHORT_TIMEOUTS.lost_after_s)
        proxy.is_open.set()
        clock.wait_for_poll()
        assert worker.state() == "RUNNING"
        worker.send_report()
        clock.tick(SHORT_TIMEOUTS.lost_after_s)
        assert worker.state() == "RUNNING"
        clock.tick(2)
        with pytest.raises(PoolFailed, match=r"the pool .* has lost 1 worker that ran it"):
            dispatch.future.result(240)
    assert "worker fake was lost: no heartbeat for" in dispatch.messages[-1]
    assert worker.state() == "CRASHED"


def test_a_crashed_run_with_a_result_is_complete(prefect_url: str, client: SyncPrefectClient) -> None:
    """If a run is marked Crashed after its worker reported success, the result is used, and no second run is sent."""
    pool = create_pool(client)
    with FaultyProxy(prefect_url).running() as proxy, dispatched(proxy, pool, Workers()) as dispatch:
        dispatch.wait_until_sent()
        worker = FakeWorker(client, pool)
        worker.send_report(ExitStatus.DONE)
        worker.set_state(Crashed())
        assert dispatch.future.result(240) == "fake"
    assert len(runs_of(client, pool)) == 1


@pytest.mark.farm
def test_pool_wait_starts_when_the_last_worker_stops(
    prefect_url: str, client: SyncPrefectClient, clock: FakeClock
) -> None:
    """The time `pool_wait_s` counts from the stop of the pool's last worker, not from the dispatch of a run that waited
    behind others before.
    """
    pool, wait_s = create_pool(client), 4.0
    with FaultyProxy(prefect_url).running() as proxy, dispatched(proxy, pool, Workers(pool_wait_s=wait_s)) as dispatch:
        client.send_worker_heartbeat(pool, "only", heartbeat_interval_seconds=600)
        dispatch.wait_until_sent()
        clock.tick(wait_s + 2)
        assert not dispatch.future.done()
        httpx.delete(f"{prefect_url}/work_pools/{pool}/workers/only", timeout=240).raise_for_status()
        clock.tick(wait_s)
        assert not dispatch.future.done()
        clock.tick(2)
        with pytest.raises(PoolFailed, match=f"{pool} has had no worker for 4 s"):
            dispatch.future.result(240)


def test_each_line_is_read_once(client: SyncPrefectClient) -> None:
    """More lines than a page, with equal time stamps, late lines and other loggers: each is read once, in order."""
    run, start = uuid4(), datetime.now(UTC)

    def write(*lines: tuple[int, str], name: str = "prefect.flow_runs.stage") -> None:
        logs = [
            LogCreate(name=name, level=20, message=text, timestamp=start + timedelta(microseconds=at), flow_run_id=run)
            for at, text in lines
        ]
        client.create_logs(logs)

    reader = LogReader(UUID(str(run)))
    assert reader.read_new(client) == []
    count = 2 * PAGE_SIZE + 50
    write(*[(at - at % 7, f"line {at}") for at in range(count)])
    write((3, "Prefect's own"), name="prefect.flow_runs")
    read = reader.read_new(client)
    assert sorted(read) == sorted(f"line {at}" for at in range(count))
    assert [int(line.split()[1]) // 7 for line in read] == [at // 7 for at in range(count)]
    assert reader.read_new(client) == []
    write((10_000_000, "last"), (9_000_000, "late"))
    assert reader.read_new(client) == ["late", "last"]
    write((8_500_000, "later"), (10_000_000, "at the same time"))
    assert reader.read_new(client) == ["later", "at the same time"]
    assert reader.read_new(client) == []
