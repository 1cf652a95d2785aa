"""An orderly stop of `inkflow up` in the middle of runs: the next start starts them again, and tells of no crash."""

import signal
from pathlib import Path

import pytest

from flows.prefect_server.crashes import STOPPED
from flows.prefect_server.up_settings import WEBHOOK
from tests.conftest import wait_until
from tests.support.http_receiver import Receiver
from tests.support.scheduled_project import scheduled
from tests.support.up_process import running_up

pytestmark = [pytest.mark.server, pytest.mark.farm, pytest.mark.timeout(900)]  # on a busy machine


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_that_a_stop_ended_starts_again(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, or a shutdown, ends a run with its stage; the next start completes it, as if there was no crash."""
    project = scheduled(tmp_path / "toy")
    with Receiver().running() as receiver:
        settings = {WEBHOOK: f"http://127.0.0.1:{receiver.port}/hook"}
        with running_up(project.folder, tmp_path / "first.log", **settings) as up:
            assert "prefect deployment run inkflow/nightly --watch\n" in up.output  # it has no schedule
            run = up.start("inkflow/nightly", targets=["slow"])
            wait_until(lambda: (project.folder / "started").exists(), timeout_s=120)
            assert up.end(number) == 0, up.output
            up.wait_until_gone()
            assert "Traceback" not in up.output
        with running_up(project.folder, tmp_path / "second.log", **settings) as up:
            assert "now marked as crashed: " in up.output
            up.wait_for(run, "Completed")
            assert up.get(f"/flow_runs/{run}")["run_count"] == 2
            states = up.get(f"/flow_run_states/?flow_run_id={run}")
            assert [state["message"] for state in states if state["type"] == "CRASHED"] == [STOPPED]
            assert [state["message"] for state in states if state["name"] == "AwaitingRetry"] == [
                f"started again: {STOPPED}"
            ]
            failed = up.start("inkflow/nightly", targets=["no-such-stage"])
            wait_until(lambda: receiver.posted != [], timeout_s=120)  # events are told in order
            assert [(post["state"], post["url"].endswith(failed)) for post in receiver.posted] == [("Failed", True)]
