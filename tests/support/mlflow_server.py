"""A real MLflow server on loopback, with the part of its REST API that the tests read."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import wait_until
from tests.support.loopback import free_port


class MlflowServer:
    """The server at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, content: dict[str, Any] | None = None) -> Any:
        """Returns the answer to a GET request, or with `content` to a POST request."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=240) as answer:
            return json.loads(answer.read())

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """Returns the runs of an experiment, newest first; none if it does not exist."""
        found = self.get("/api/2.0/mlflow/experiments/search", {"max_results": 100}).get("experiments", [])
        ids = [entry["experiment_id"] for entry in found if entry["name"] == experiment]
        runs = self.get("/api/2.0/mlflow/runs/search", {"experiment_ids": ids}) if ids else {}
        return list(runs.get("runs", []))

    def history(self, run: dict[str, Any], metric: str) -> list[tuple[int, float]]:
        """Returns step and value of each point of a metric."""
        query = f"run_id={run['info']['run_id']}&metric_key={metric}"
        points = self.get(f"/api/2.0/mlflow/metrics/get-history?{query}").get("metrics", [])
        return [(point["step"], point["value"]) for point in points]

    def files(self, run: dict[str, Any], folder: str) -> list[str]:
        """Returns the names of the artifacts in a folder of a run."""
        entries = self.get(f"/api/2.0/mlflow/artifacts/list?run_id={run['info']['run_id']}&path={folder}")
        return sorted(Path(entry["path"]).name for entry in entries.get("files", []))


@contextmanager
def running_mlflow(folder: Path) -> Iterator[MlflowServer]:
    """Yields a server with its database and its files in `folder`."""
    port = free_port()
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *places]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            wait_until(lambda: process.poll() is not None or _answers(port), timeout_s=240)
            assert process.poll() is None, (folder / "server.log").read_text()
            yield MlflowServer(f"http://127.0.0.1:{port}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its workers


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=240) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
