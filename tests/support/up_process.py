"""`inkflow up` as a person starts it, for tests: in a folder, with its own port, ended with the block."""

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

from flows.prefect_server.environment import DATABASE, PASSWORD
from flows.prefect_server.supervisor import nothing_left
from tests.conftest import wait_until
from tests.support.prefect_api import api
from tests.support.root import ROOT

START_S = 240.0  # on a machine with two cores that are busy
END_S = 60.0
CODE = {"PYTHONPATH": str(ROOT)}
HIDDEN = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_API_AUTH_STRING", PASSWORD, DATABASE)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what names another server."""
    return {name: value for name, value in os.environ.items() if name not in HIDDEN} | CODE | more


class Up:
    """A running `inkflow up`."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, port: int, log: Path) -> None:
        self.process, self.folder, self.port, self._log = process, folder, port, log
        self.api = f"http://127.0.0.1:{port}/api"
        self.auth: tuple[str, str] | None = None

    @property
    def said(self) -> str:
        """What it printed."""
        return self._log.read_text()

    @property
    def logs(self) -> str:
        """What its processes printed."""
        return "\n".join(path.read_text() for path in (self.folder / ".inkflow/up").glob("*.log"))

    def get(self, path: str) -> Any:
        """What the API answers."""
        return self._ask("GET", path, {})

    def post(self, path: str, **content: object) -> Any:
        """What the API answers to `content`."""
        return self._ask("POST", path, content)

    def patch(self, path: str, **content: object) -> None:
        """Change something."""
        self._ask("PATCH", path, content)

    def _ask(self, method: str, path: str, content: Mapping[str, object]) -> Any:
        return api(self.api, method, path, content, self.auth)

    def runs(self, deployment: str, state: str | None = None) -> list[dict[str, Any]]:
        """Runs of a deployment that have started, oldest first; those in `state` alone."""
        named = {"name": {"any_": [deployment]}}
        started = {"start_time": {"is_null_": False}}
        found: list[dict[str, Any]] = self.post(
            "/flow_runs/filter", deployments=named, flow_runs=started, sort="START_TIME_ASC"
        )
        return [run for run in found if state in (None, run["state_name"])]

    def tasks(self, run: dict[str, Any]) -> dict[str, str]:
        """State of each task of a run, by name."""
        found = self.post("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return {task["name"]: task["state_name"] for task in found}

    def start(self, deployment: str, **parameters: object) -> str:
        """Start a deployment (FLOW/NAME) now; the run's id."""
        found = self.get(f"/deployments/name/{deployment}")
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", parameters=parameters)["id"])

    def state(self, run: str) -> str:
        """Name of a run's state."""
        return str(self.get(f"/flow_runs/{run}")["state_name"])

    def wait_for(self, run: str, *states: str) -> None:
        """Wait until a run is in one of `states`."""
        try:
            wait_until(lambda: self.state(run) in states, timeout_s=300)
        except TimeoutError as error:
            raise AssertionError(f"{self.get(f'/flow_runs/{run}')['state']}\n{self.logs}") from error

    def end(self, number: signal.Signals) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(END_S)

    def leaves_nothing(self) -> bool:
        """Whether no process of it is left, and nobody listens: one that ends may still hold its port for a moment."""
        wait_until(lambda: nothing_left(self.folder, END_S) and not self._listens(), timeout_s=END_S)
        return not self._listens()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def running_up(folder: Path, log: Path, arguments: Sequence[str] = (), **more: str) -> Iterator[Up]:
    """`inkflow up` in `folder` until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "flows", "up", "--port", str(port), *arguments]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=stream, stderr=stream, text=True
        )
    up = Up(process, folder, port, log)
    try:
        wait_until(lambda: "Ctrl-C ends" in up.said or process.poll() is not None, timeout_s=START_S)
        assert process.poll() is None, up.said + up.logs
        yield up
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(END_S)
        assert nothing_left(folder, END_S)


def start_in(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """`inkflow up` that is expected to end at once."""
    command = [sys.executable, "-m", "flows", "up", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=120)


def preflight(api: str, origin: str) -> httpx.Response:
    """What a browser asks before it lets a page of `origin` post JSON."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    return httpx.options(f"{api}/deployments/filter", headers={"Origin": origin, **asked}, timeout=60)
