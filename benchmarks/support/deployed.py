"""A project's flow as a deployment with a worker, and how long its runs take."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.support.measure import ROOT
from flows.engine.processes.process_trees import terminate_trees
from flows.prefect_server.api_client import request

START_S = 120.0
RUN_S = 120.0
POLL_S = 0.1
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PULL = "prefect.deployments.steps.set_working_directory"
DEPLOYMENT = f"""
name: bench
pull: [{{{PULL}: {{directory: "{{folder}}"}}}}]
deployments:
  - name: bench
    entrypoint: flows.scheduled.scheduled
    work_pool: {{name: bench, job_variables: {{command: python -m inkflow.flows.workers.run_launcher}}}}
"""


@contextmanager
def deployed(project: Path, environment: Mapping[str, str]) -> Iterator[Callable[[], float]]:
    """The flow `nightly` of `project`, deployed, with a worker; calling what is given runs it, with nothing to do.

    It gives the seconds from when the worker takes the run to the run's end, as the server recorded both.
    """
    (project / "prefect.yaml").write_text(DEPLOYMENT.replace("{folder}", str(project)))
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    settings = os.environ | dict(environment) | path | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    with (
        httpx.Client(base_url=environment["PREFECT_API_URL"], timeout=60) as client,
        (project.parent / "worker.log").open("w") as log,
        subprocess.Popen(
            [*prefect, "worker", "start", "--pool", "bench", "--type", "process"], env=settings, stdout=log, stderr=log
        ) as worker,
    ):
        try:
            _until(lambda: client.get("/work_pools/bench").status_code == httpx.codes.OK, START_S)
            deploy = [*prefect, "deploy", "--name", "bench"]
            subprocess.run(deploy, cwd=project, env=settings, capture_output=True, check=True)
            yield lambda: _seconds_of_a_run(client)
        finally:
            terminate_trees([worker.pid])


def _seconds_of_a_run(client: httpx.Client) -> float:
    deployment = request(client, "GET", "/deployments/name/inkflow/bench").json()["id"]
    run = request(client, "POST", f"/deployments/{deployment}/create_flow_run").json()["id"]
    _until(lambda: request(client, "GET", f"/flow_runs/{run}").json()["state"]["type"] in ENDS, RUN_S)
    states = request(client, "GET", f"/flow_run_states/?flow_run_id={run}").json()
    times = {state["type"]: datetime.fromisoformat(state["timestamp"]) for state in states}
    tasks = {"flow_runs": {"id": {"any_": [run]}}}
    _until(lambda: bool(_names(client, tasks)), RUN_S)  # tasks tell the server by events, a moment later
    assert times.keys() >= {"PENDING", "COMPLETED"}, states
    assert _names(client, tasks) == {"Cached"}, "there was something to do"
    return (times["COMPLETED"] - times["PENDING"]).total_seconds()


def _names(client: httpx.Client, tasks: dict[str, Any]) -> set[str]:
    """Names of the states of a run's tasks that have ended."""
    found = request(client, "POST", "/task_runs/filter", **tasks).json()
    return {task["state_name"] for task in found} - {"Pending", "Running"}


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {timeout_s:g} s")
        time.sleep(POLL_S)
