"""From `inkflow up` in a fresh clone of what is committed to a finished run of the deployment `nightly`, on the digits.

python -m benchmarks.up
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from ruamel.yaml import YAML

from flows.prefect_server.api_client import request
from flows.prefect_server.credentials import AUTH_FILE, HOME

ROOT = Path(__file__).parents[1]
PORT = 4277
LIMIT_S = 600.0
SHORT = {"network": "dense", "units": [32], "optimizer": {"name": "adam"}, "batch_size": 32, "epochs": 2}


def main() -> int:
    """Measure once, print a line of JSON; 1 when the run did not complete."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "inkflow"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
        _shorten(project)
        hidden = ("PREFECT_API_URL", "PREFECT_HOME")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        started = time.monotonic()
        command = [sys.executable, "-m", "flows", "up", "--port", str(PORT)]
        with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) as up:
            try:
                assert up.stdout is not None
                while "Ctrl-C ends" not in (line := up.stdout.readline()):
                    if not line:
                        return 1
                ready = time.monotonic()
                state = _run((project / HOME / AUTH_FILE).read_text(encoding="utf-8"))
                done = time.monotonic()
            finally:
                up.send_signal(signal.SIGINT)
                up.communicate()
    print(json.dumps({
        "benchmark": "`inkflow up` in a fresh clone to a finished deployment run, digits, 2 models",
        "seconds": {"up": ready - started, "run": done - ready, "together": done - started},
        "state": state, "target": "90 s or less", "runs": 1,
    }))  # fmt: skip
    return 0 if state == "Completed" else 1


def _shorten(project: Path) -> None:
    """Digits, and two models that train in a second."""
    path = project / "params.yaml"
    content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    content |= {"dataset": "digits", "models": {"dense": SHORT, "wide": SHORT | {"units": [64]}}}
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _run(password: str) -> str:
    """Start the deployment; the name of the state in which it ends."""
    name, _, secret = password.partition(":")
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}/api", timeout=60, auth=(name, secret)) as client:
        deployment = request(client, "GET", "/deployments/name/inkflow/nightly").json()["id"]
        run = request(client, "POST", f"/deployments/{deployment}/create_flow_run").json()["id"]
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            state = request(client, "GET", f"/flow_runs/{run}").json()["state"]
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return str(state["name"])
            time.sleep(0.5)
    return "not ended"


if __name__ == "__main__":
    sys.exit(main())
