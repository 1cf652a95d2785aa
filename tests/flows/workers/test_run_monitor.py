"""What the monitor makes of the server's answers on runs in pools."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.states import Running

from flows.engine.policy import Workers
from flows.workers.run_monitor import MAX_ABSENCES, RunMonitor, SubRun
from flows.workers.stage_report import Report


class Client:
    """Answers with the runs and reports that a test sets."""

    def __init__(self, run: SubRun, beats: list[int]) -> None:
        self.runs = [SimpleNamespace(id=run.id, state=Running())]
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


@pytest.mark.parametrize("beats", [[1, 7], [7, 1]])
def test_the_newest_report_counts(beats: list[int]) -> None:
    """A request that Prefect's client repeated has made a second report, which no worker updates."""
    run = SubRun(uuid4(), "pool", is_own=True)
    RunMonitor(Client(run, beats), Workers())._poll({run.id: run})  # type: ignore[arg-type]
    assert run.report is not None and run.report.beat == 7


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
