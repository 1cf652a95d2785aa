"""What the monitor makes of the server's answers on runs in pools."""

import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Pending, Running

from flows.core.errors import PoolFailed
from flows.engine.policy import Workers
from flows.workers.run_monitor import MAX_ABSENCES, MAX_POLL_GAP_S, RunMonitor, SubRun
from flows.workers.stage_report import Report
from tests.flows.workers.test_dispatch import FakeClock, clock

__all__ = ["clock"]  # fixture

TEN_MINUTES_S = 600.0


class Client:
    """Answers with the runs and reports that a test sets."""

    def __init__(self, run: SubRun, beats: list[int]) -> None:
        self.runs = [SimpleNamespace(id=run.id, state=Running())]
        self.crashed = list[str]()
        self.artifacts = [
            SimpleNamespace(flow_run_id=run.id, data=Report("w", "s", beat=beat).to_table()) for beat in beats
        ]
        self.artifacts.append(SimpleNamespace(flow_run_id=run.id, data="a summary of another program"))

    def read_flow_runs(self, **_: object) -> list[SimpleNamespace]:
        """Returns the runs."""
        return self.runs

    def read_artifacts(self, **_: object) -> list[SimpleNamespace]:
        """Returns the artifacts."""
        return self.artifacts

    def read_logs(self, *_: object, **__: object) -> list[object]:
        """Returns no lines."""
        return []

    def read_workers_for_work_pool(self, _: str) -> list[object]:
        """Returns no workers."""
        return []

    def set_flow_run_state(self, _: object, state: State[Any], *, force: bool) -> None:
        """Notes the message of a run that is set to Crashed."""
        assert state.is_crashed() and force
        self.crashed.append(state.message or "")


@pytest.mark.parametrize("beats", [[1, 7], [7, 1]])
def test_the_newest_report_counts(beats: list[int]) -> None:
    """A request that Prefect's client repeated has made a second report, which no worker updates."""
    run = SubRun(uuid4(), "pool", is_own=True)
    RunMonitor(Client(run, beats), Workers())._poll({run.id: run})  # type: ignore[arg-type]
    assert run.report is not None and run.report.beat == 7


def test_a_page_of_a_proxy_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is no JSON fails no run; the next poll has its report."""
    run = SubRun(uuid4(), "pool", is_own=True)
    client = Client(run, [3])
    monitor = RunMonitor(client, Workers())  # type: ignore[arg-type]
    with monkeypatch.context() as proxy:
        proxy.setattr(client, "read_flow_runs", lambda **_: json.loads("<html>"))
        monitor._try_to_poll({run.id: run})
    assert (run.error, run.report) == (None, None)
    monitor._try_to_poll({run.id: run})
    assert run.report is not None


def test_a_run_that_the_server_no_longer_has() -> None:
    """A run that was deleted has crashed for those who wait for it; its last report stays."""
    run = SubRun(uuid4(), "pool", is_own=True)
    client = Client(run, [3])
    monitor = RunMonitor(client, Workers())  # type: ignore[arg-type]
    monitor._poll({run.id: run})
    client.runs = []
    for _ in range(MAX_ABSENCES):
        assert run.state is not None and run.state.is_running()
        monitor._poll({run.id: run})
    assert run.state and run.state.is_crashed() and run.report is not None and run.changed.is_set()


def test_a_worker_has_ten_minutes_until_its_first_report(clock: FakeClock) -> None:
    """A run that is pending may pull a container image: it is lost after 10 minutes, however short `lost_after_s`."""
    run = SubRun(uuid4(), "pool", is_own=True)
    client = Client(run, [])
    client.runs = [SimpleNamespace(id=run.id, state=Pending())]
    monitor = RunMonitor(client, Workers(lost_after_s=5))  # type: ignore[arg-type]
    monitor._poll({run.id: run})
    for _ in range(round(TEN_MINUTES_S / MAX_POLL_GAP_S)):
        clock.jump(MAX_POLL_GAP_S)
        monitor._poll({run.id: run})
        assert client.crashed == []
    clock.jump(1)
    monitor._poll({run.id: run})
    assert client.crashed == ["no heartbeat for 601 s"]


def test_an_outage_may_take_ten_minutes(clock: FakeClock) -> None:
    """A server that is away for up to 10 minutes fails no run; the next outage has its own 10 minutes."""
    run = SubRun(uuid4(), "pool", is_own=True)
    monitor = RunMonitor(Client(run, [1]), Workers())  # type: ignore[arg-type]
    runs, away = {run.id: run}, OSError("refused")
    for _ in range(2):
        monitor._poll(runs)
        monitor._handle_outage(runs, away)
        clock.jump(TEN_MINUTES_S)
        monitor._handle_outage(runs, away)
        assert run.error is None
    clock.jump(1)
    monitor._handle_outage(runs, away)
    assert isinstance(run.error, PoolFailed) and run.changed.is_set()
    assert str(run.error) == "the Prefect server has been unreachable for 600 s: refused"
