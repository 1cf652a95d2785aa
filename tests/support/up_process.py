"""`inkflow up` as a process for tests: in a folder, on its own port, stopped when the block ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows.prefect_server.credentials import AUTH_FILE, HOME
from flows.prefect_server.environment import DATABASE, PASSWORD
from flows.prefect_server.watchdog import marked_pids
from tests.conftest import wait_until
from tests.support.commands import run_python
from tests.support.loopback import free_port
from tests.support.prefect_api import api
from tests.support.root import ROOT

START_S = 240.0  # on a busy machine with two cores
END_S = 60.0
PROGRAM = (sys.executable, "-m", "flows")
CODE = {"PYTHONPATH": str(ROOT)}
SERVER_VARIABLES = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_API_AUTH_STRING", PASSWORD, DATABASE)

SHORT_DELAYS = {  # seconds after which Prefect looks for late runs and marks them: shorter than its defaults
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
}


def environment(**more: str) -> dict[str, str]:
    """Returns this process's environment without the variables that select another server."""
    return {name: value for name, value in os.environ.items() if name not in SERVER_VARIABLES} | CODE | more


class Up:
    """A running `inkflow up`, and its Prefect API."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, port: int, log: Path) -> None:
        self.process, self.folder, self.port, self._log = process, folder, port, log
        self.api = f"http://127.0.0.1:{port}/api"

    @property
    def auth(self) -> tuple[str, str]:
        """Name and password of the server, as `inkflow up` keeps them."""
        name, _, password = (self.folder / HOME / AUTH_FILE).read_text().partition(":")
        return name, password

    def client_environment(self) -> dict[str, str]:
        """Returns the environment of a client of the server."""
        home = str(self.folder / "home")
        return environment(PREFECT_API_URL=self.api, PREFECT_API_AUTH_STRING=":".join(self.auth), PREFECT_HOME=home)

    def count_runs(self, **headers: str) -> httpx.Response:
        """Returns the response to a request with `headers` for the number of flow runs."""
        return httpx.post(f"{self.api}/flow_runs/count", json={}, headers=headers, auth=self.auth, timeout=240)

    @property
    def output(self) -> str:
        """Everything that `inkflow up` printed."""
        return self._log.read_text()

    @property
    def logs(self) -> str:
        """Everything that the server and the workers printed."""
        return "\n".join(path.read_text() for path in (self.folder / ".inkflow/up").glob("*.log"))

    def get(self, path: str) -> Any:
        """Returns the API's response to a GET request."""
        return self._request("GET", path, {})

    def post(self, path: str, **content: object) -> Any:
        """Returns the API's response to a POST request with the JSON body `content`."""
        return self._request("POST", path, content)

    def patch(self, path: str, **content: object) -> None:
        """Sends a PATCH request with the JSON body `content`."""
        self._request("PATCH", path, content)

    def _request(self, method: str, path: str, content: Mapping[str, object]) -> Any:
        return api(self.api, method, path, content, self.auth)

    def runs(self, deployment: str, state: str | None = None) -> list[dict[str, Any]]:
        """Returns the started runs of a deployment, oldest first; with `state`, only those in that state."""
        deployments = {"name": {"any_": [deployment]}}
        started = {"start_time": {"is_null_": False}}
        runs: list[dict[str, Any]] = self.post(
            "/flow_runs/filter", deployments=deployments, flow_runs=started, sort="START_TIME_ASC"
        )
        return [run for run in runs if state in (None, run["state_name"])]

    def tasks(self, run: dict[str, Any]) -> dict[str, str]:
        """Returns the state of each task of a run, by task name."""
        tasks = self.post("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return {task["name"]: task["state_name"] for task in tasks}

    def ended_tasks(self, run: dict[str, Any], count: int) -> dict[str, str]:
        """Returns the state of each task of a run, by task name, when the server shows `count` tasks, all ended.

        A task's states reach the server's table some time after those of its run.
        """

        def are_shown() -> bool:
            states = self.tasks(run).values()
            return len(states) == count and not {"Pending", "Running"} & set(states)

        wait_until(are_shown, timeout_s=60)
        return self.tasks(run)

    def lines(self, run: str) -> list[str]:
        """Returns the messages in the log of a run and of its tasks, in the order of their time."""
        logs = self.post("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC")
        return [entry["message"] for entry in logs]

    def start(self, deployment: str, **parameters: object) -> str:
        """Starts a run of a deployment (FLOW/NAME) and returns the run's id."""
        identifier = self.get(f"/deployments/name/{deployment}")["id"]
        return str(self.post(f"/deployments/{identifier}/create_flow_run", parameters=parameters)["id"])

    def state(self, run: str) -> str:
        """Returns the name of a run's state."""
        return str(self.get(f"/flow_runs/{run}")["state_name"])

    def wait_for(self, run: str, *states: str) -> None:
        """Waits until a run is in one of `states`."""
        try:
            wait_until(lambda: self.state(run) in states, timeout_s=300)
        except TimeoutError as error:
            raise AssertionError(f"{self.get(f'/flow_runs/{run}')['state']}\n{self.logs}") from error

    def output_of(self, program: str) -> str:
        """Returns the output of a Python program that uses the server."""
        done = run_python("-c", program, environment=self.client_environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def end(self, number: signal.Signals) -> int:
        """Sends a signal to `inkflow up` and returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(END_S)

    def wait_until_gone(self) -> None:
        """Waits until no process of this `inkflow up` exists and its port is free, or raises TimeoutError."""
        wait_until(lambda: not marked_pids(f":{self.folder}") and not self._listens(), timeout_s=END_S)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def running_up(
    folder: Path, log: Path, arguments: Sequence[str] = (), program: Sequence[str | Path] = PROGRAM, **more: str
) -> Iterator[Up]:
    """Runs `inkflow up` in `folder` until the block ends; `program` is the `inkflow` to use."""
    with starting_up(folder, log, arguments, program, **more) as up:
        assert up.process.poll() is None, up.output + up.logs
        yield up


@contextmanager
def starting_up(
    folder: Path, log: Path, arguments: Sequence[str] = (), program: Sequence[str | Path] = PROGRAM, **more: str
) -> Iterator[Up]:
    """Starts `inkflow up` as `running_up` does; it may have ended with an error when the block begins."""
    port = free_port()
    command = [*program, "up", "--port", str(port), *arguments]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=stream, stderr=stream, text=True
        )
    up = Up(process, folder, port, log)
    try:
        wait_until(lambda: "Ctrl-C ends" in up.output or process.poll() is not None, timeout_s=START_S)
        yield up
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(END_S)
        up.wait_until_gone()


def run_up(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Runs an `inkflow up` that is expected to end at once."""
    return run_python("-m", "flows", "up", *arguments, folder=folder, environment=environment(**more))


def preflight(api: str, origin: str) -> httpx.Response:
    """Sends the CORS preflight request of a browser whose page of `origin` wants to post JSON."""
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    return httpx.options(f"{api}/deployments/filter", headers={"Origin": origin, **headers}, timeout=240)


def is_worker(process: psutil.Process) -> bool:
    """Returns whether this is a Prefect worker itself, not the setpriv process that starts it."""
    return process.cmdline()[1:5] == ["-m", "inkflow.flows.workers.pool_worker", "worker", "start"]
