"""How stages are sent to a pool and followed, by a real Prefect server and no worker."""

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
from flows.workers.dispatch import FLOW, Dispatch
from flows.workers.log_reader import PAGE, LogReader
from flows.workers.order import Order
from flows.workers.run_monitor import POLL_S
from flows.workers.stage_report import ARTIFACT, Ending, Report
from tests.conftest import wait_until
from tests.flows.workers.way import Way

pytestmark = pytest.mark.server

IMPATIENT = Workers(lost_after_s=5, pool_wait_s=600, resends=0)


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


class Carried:
    """One order on its way, carried by a thread of its own."""

    def __init__(self, dispatch: Dispatch, pool: str, threads: ThreadPoolExecutor) -> None:
        self.order = Order(stage="s", run_key=uuid4().hex, source="here", commit="0" * 40)
        self.said, self.ended = list[str](), threading.Event()
        self.worker = threads.submit(dispatch.carry, self.order, pool, self.said.append, self.ended)

    def wait_until_sent(self) -> None:
        """Wait until it says so."""
        wait_until(lambda: bool(self.said) or self.worker.done(), timeout_s=60)


@contextmanager
def carried(way: Way, pool: str, workers: Workers) -> Iterator[Carried]:
    """An order that goes to `pool` on the `way`; ended with the block."""
    with temporary_settings({PREFECT_API_URL: way.url}), ThreadPoolExecutor() as threads:
        one = Carried(Dispatch(workers, way.url), pool, threads)
        try:
            yield one
        finally:
            one.ended.set()
            way.open.set()


def test_a_lost_answer_leaves_no_run_behind(prefect_url: str, client: SyncPrefectClient) -> None:
    """The server made the run, and its answer was lost: no second one is made, and Ctrl-C cancels the one there is."""
    pool = deployed(client)
    with Way(prefect_url).running() as way:
        way.lose_first = True
        with carried(way, pool, Workers()) as one:
            one.wait_until_sent()
            one.ended.set()
            with pytest.raises(Interrupted):
                one.worker.result(60)
        assert way.created
    assert one.said == [f"sent to the pool {pool}"]
    (run,) = runs_of(client, pool)
    assert run.state.is_cancelled() or run.state.is_cancelling()
    assert sorted(run.tags) == sorted(["inkflow", f"s {one.order.run_key[:16]} in {pool}"])


@pytest.mark.parametrize(("code", "said"), [(500, []), (409, ["s: the Prefect server does not take it: .*409"])])
def test_an_answer_that_is_no_success(code: int, said: list[str], prefect_url: str, client: SyncPrefectClient) -> None:
    """A fault of the server is waited for; what it refuses fails the stage with its words."""
    pool = deployed(client)
    with Way(prefect_url).running() as way:
        way.refuse_first = code
        with carried(way, pool, Workers()) as one:
            one.wait_until_sent()
            if said:
                with pytest.raises(PoolFailed, match=said[0]):
                    one.worker.result(60)
            else:
                assert one.said == [f"sent to the pool {pool}"]


class Clock:
    """Time as a follower of runs has it: it passes only when a test says so, however busy the machine is."""

    def __init__(self) -> None:
        self._now, self._sleeps = time.monotonic(), 0
        self._strangers = set(threading.enumerate())  # followers of other tests, which go on, among them

    def monotonic(self) -> float:
        """Seconds."""
        return self._now

    def sleep(self, _: float) -> None:
        """The pause before a look at all runs."""
        self._sleeps += threading.current_thread() not in self._strangers
        time.sleep(0.02)

    def wait_for_a_look(self) -> None:
        """Wait until one that began after this call is over."""
        seen = self._sleeps
        wait_until(lambda: self._sleeps >= seen + 2, timeout_s=60)

    def tick(self, seconds: float) -> None:
        """Let so much time pass, with looks as often as ever."""
        for _ in range(round(seconds / POLL_S)):
            self._now += POLL_S
            self.wait_for_a_look()

    def jump(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all followers."""
    clock = Clock()
    monkeypatch.setattr("flows.workers.run_monitor.time", clock)
    return clock


class Pretended:
    """A worker, as far as the server can see it."""

    def __init__(self, client: SyncPrefectClient, pool: str) -> None:
        (run,) = runs_of(client, pool)
        self._client, self._run, self._report = client, run.id, Report("pretended", "s")
        client.set_flow_run_state(run.id, Running(), force=True)
        made = ArtifactCreate(type=ARTIFACT, data=self._report.to_table(), flow_run_id=run.id)
        self._artifact = client.create_artifact(made).id

    def tell(self, ending: Ending = Ending.NONE) -> None:
        """Give a sign of life."""
        self._report = replace(self._report, beat=self._report.beat + 1, ending=ending)
        self._client.update_artifact(self._artifact, ArtifactUpdate(data=self._report.to_table()))

    def state(self) -> str:
        """Of its run, as the server knows it."""
        found = self._client.read_flow_run(self._run).state
        return found.type.value if found else ""

    def set(self, state: State[Any]) -> None:
        """Set the state of its run."""
        self._client.set_flow_run_state(self._run, state, force=True)


def test_a_server_that_was_away_loses_no_worker(prefect_url: str, client: SyncPrefectClient, clock: Clock) -> None:
    """The server is away for longer than a worker may be silent, and the worker, which backs off, takes its time to
    notice that it is back: it is not lost.
    """
    pool = deployed(client)
    with Way(prefect_url).running() as way, carried(way, pool, IMPATIENT) as one:
        one.wait_until_sent()
        worker = Pretended(client, pool)
        clock.wait_for_a_look()
        way.open.clear()
        clock.tick(IMPATIENT.lost_after_s + 4)
        way.open.set()
        clock.tick(IMPATIENT.lost_after_s + 3)
        assert worker.state() == "RUNNING"
        worker.tell(Ending.DONE)
        worker.set(Completed())
        assert one.worker.result(30) == "pretended"


@pytest.mark.parametrize("request_for", ["/flow_runs/filter", "/artifacts/filter", "/logs/filter"])
def test_a_server_that_stood_still_loses_no_worker(
    request_for: str, prefect_url: str, client: SyncPrefectClient, clock: Clock
) -> None:
    """The server answers nothing for longer than a worker may be silent: the worker is not lost. One that dies when
    the server answers again is.
    """
    pool = deployed(client)
    with Way(prefect_url).running() as way, carried(way, pool, IMPATIENT) as one:
        one.wait_until_sent()
        worker = Pretended(client, pool)
        clock.wait_for_a_look()
        way.holds = request_for
        way.open.clear()
        wait_until(lambda: way.held > 0, timeout_s=60)
        clock.jump(2 * IMPATIENT.lost_after_s)
        way.open.set()
        clock.wait_for_a_look()
        assert worker.state() == "RUNNING"
        worker.tell()
        clock.tick(IMPATIENT.lost_after_s)
        assert worker.state() == "RUNNING"
        clock.tick(2)
        with pytest.raises(PoolFailed, match=r"1 workers .* were lost"):
            one.worker.result(30)
    assert "worker pretended was lost: no sign of life for" in one.said[-1]
    assert worker.state() == "CRASHED"


def test_a_worker_that_gave_its_result_is_not_lost(prefect_url: str, client: SyncPrefectClient) -> None:
    """A run that is marked Crashed when its worker has reported the end: its result is taken, nothing is sent again."""
    pool = deployed(client)
    with Way(prefect_url).running() as way, carried(way, pool, Workers()) as one:
        one.wait_until_sent()
        worker = Pretended(client, pool)
        worker.tell(Ending.DONE)
        worker.set(Crashed())
        assert one.worker.result(30) == "pretended"
    assert len(runs_of(client, pool)) == 1


def test_a_pool_counts_as_left_from_its_last_worker_on(
    prefect_url: str, client: SyncPrefectClient, clock: Clock
) -> None:
    """A run waits behind others for longer than for a pool without workers; then the worker goes: from then on the
    wait counts, not from the sending on.
    """
    pool, wait_s = deployed(client), 4.0
    with Way(prefect_url).running() as way, carried(way, pool, Workers(pool_wait_s=wait_s)) as one:
        client.send_worker_heartbeat(pool, "only", heartbeat_interval_seconds=600)
        one.wait_until_sent()
        clock.tick(wait_s + 2)
        assert not one.worker.done()
        httpx.delete(f"{prefect_url}/work_pools/{pool}/workers/only", timeout=60).raise_for_status()
        clock.tick(wait_s)
        assert not one.worker.done()
        clock.tick(2)
        with pytest.raises(PoolFailed, match=f"{pool} has no worker since 4 s"):
            one.worker.result(60)


def test_each_line_is_read_once(client: SyncPrefectClient) -> None:
    """More lines than a page, many at the same time, some late, between lines of others: each once, and in order."""
    run, began = uuid4(), datetime.now(UTC)

    def write(*said: tuple[int, str], name: str = "prefect.flow_runs.stage") -> None:
        logs = [
            LogCreate(name=name, level=20, message=text, timestamp=began + timedelta(microseconds=at), flow_run_id=run)
            for at, text in said
        ]
        client.create_logs(logs)

    lines = LogReader(UUID(str(run)))
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
