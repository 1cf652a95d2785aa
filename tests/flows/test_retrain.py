"""Retrains on new data: detects a change at the source, sends one event, and runs the flow that it triggers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prefect.client.schemas.objects import State
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from flows.retrain import retrain, watch_data
from stages.data.datasets import digest
from stages.download.digits import load_digits
from tests.conftest import Project, Toy, wait_until
from tests.flows.dvc_repo.test_remotes import commit
from tests.flows.test_deployment import environment, prefect, worker
from tests.support.commands import dvc, run_python
from tests.support.loopback import serving
from tests.support.own_programs import run_here
from tests.support.prefect_api import api, runs_of

__all__ = ["environment", "worker"]  # fixtures

GRAPH = """
stages:
  download:
    cmd: python -m stages.download --out data/raw
    params: [dataset, datasets]
    deps: [stages/download/download.py]
    outs: [data/raw/dataset.npz, data/raw/dataset.json]
"""
RETRAIN = "retrain-on-new-data"  # a deployment
LAST = 599  # index of the training sample whose label changes


@pytest.fixture(autouse=True)
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a mirror that has digits in place of MNIST, and return the path of its file."""
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    path = tmp_path / "mirror" / "mnist.npz"
    write_dataset(path)
    return path


def write_dataset(path: Path, label: int | None = None) -> dict[str, str]:
    """Write digits, the last training sample with another `label` if given, and return the digests."""
    arrays = {name: array[:600] for name, array in load_digits().by_name().items()}
    if label is not None:
        arrays["y_train"] = arrays["y_train"].copy()
        arrays["y_train"][LAST] = label
    np.savez(path, allow_pickle=False, **arrays)
    return {name: digest(array) for name, array in arrays.items()}


@pytest.fixture
def short(project: Project, mirror: Path) -> Project:
    """Return a copy of the project with the stage `download` alone, on the data of the mirror."""
    project.write({"dvc.yaml": GRAPH})
    project.set({"dataset": "mnist", "datasets.mnist.sha256": write_dataset(mirror)})
    return project


def digests_of(project: Toy) -> Any:
    """Return the digests in params.yaml."""
    return YAML(typ="safe").load(project.read("params.yaml"))["datasets"]["mnist"]["sha256"]


@pytest.mark.server
@pytest.mark.farm
def test_a_refused_event_is_sent_again(
    short: Project, mirror: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that the server refused is sent by the next check; an accepted event is sent once."""
    write_dataset(mirror, label=5)
    with EventProxy(prefect_url).running() as proxy, temporary_settings({PREFECT_API_URL: proxy.url}):
        proxy.accepts_events = False
        states = [check_source()]
        proxy.accepts_events = True
        states += [check_source(), check_source()]
    assert [state.is_completed() for state in states] == [False, True, True]
    assert "the next check sends it" in str(states[0].message)
    assert proxy.datasets == ["mnist"]


@pytest.mark.cases(1)
@pytest.mark.server
@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x_train": np.zeros((600, 20, 28), np.uint8), "x_test": np.zeros((9, 20, 28), np.uint8)}, "`shape`"),
        ({"x_train": np.zeros((600, 28, 28), np.float32)}, "pixels of type float32"),
        ({"x_train": np.zeros((2, 28, 28), np.uint8), "y_train": np.arange(2)}, "prepare.samples is [0, 600]"),
    ],
    ids=["shape", "type", "samples"],
)
def test_bad_new_data_change_nothing(
    short: Project,
    mirror: Path,
    prefect_url: str,
    arrays: dict[str, np.ndarray[Any, Any]],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New data that `download` or `prepare` would refuse fail the check: no event is sent, and no digest is written."""
    monkeypatch.setattr("flows.retrain.run_program", run_here)
    before = short.read("params.yaml")
    good = {name: array[: 600 if "train" in name else 9] for name, array in load_digits().by_name().items()}
    np.savez(mirror, allow_pickle=False, **good | arrays)
    with EventProxy(prefect_url).running() as proxy, temporary_settings({PREFECT_API_URL: proxy.url}):
        states = [check_source(), check_source()]
        with disable_run_logger():
            states.append(retrain.fn())
    assert [state.is_failed() for state in states] == [True, True, True]
    [message] = {str(state.message) for state in states}
    assert reason in message
    assert "/tmp" not in message.replace(str(mirror), "")
    assert (proxy.datasets, short.read("params.yaml")) == ([], before)


def check_source() -> State[Any]:
    """Call the flow `watch-data` outside of a flow run, and return its state."""
    with disable_run_logger():
        state: State[Any] = watch_data.fn()
    return state


class EventProxy:
    """A proxy of a Prefect server that accepts or refuses events itself and forwards all other requests.

    An event that reached the server could trigger an automation that another test creates later.

    Attributes:
        accepts_events: accept events; else they are refused.
        datasets: data sets of the accepted events.
    """

    def __init__(self, server: str) -> None:
        self.accepts_events = True
        self.datasets: list[str] = []
        self._server = server
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"

    @contextmanager
    def running(self) -> Iterator["EventProxy"]:
        """Serve until the block ends."""
        with serving(self._http):
            yield self

    def answer(self, request: BaseHTTPRequestHandler) -> httpx.Response:
        """Return the server's response, or our own for an event."""
        content = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = request.path.removeprefix("/api")
        if path == "/events" and not self.accepts_events:
            return httpx.Response(400)
        if path == "/events":
            self.datasets += [event["resource"]["prefect.resource.name"] for event in json.loads(content)]
            return httpx.Response(204)
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        return httpx.request(request.command, self._server + path, content=content, headers=headers, timeout=240)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                response = proxy.answer(self)
                self.send_response(response.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(response.content)))
                self.end_headers()
                self.wfile.write(response.content)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.timeout(900)  # a busy machine is slow
def test_new_data_start_a_run(
    short: Project, mirror: Path, worker: Path, environment: dict[str, str], prefect_url: str
) -> None:
    """New data trigger one run of `retrain`, which downloads them in a clone and records a DVC experiment; params.yaml
    has their digests once the experiment is applied.
    """
    known = [run["id"] for run in runs_of(prefect_url, RETRAIN)]
    wait_until(lambda: httpx.get(f"{prefect_url}/work_pools/local", timeout=240).status_code == 200, timeout_s=60)
    prefect("deploy", "--name", RETRAIN, environment=environment)
    commit(short.folder)
    old = digests_of(short)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        check_source()
    assert runs_of(prefect_url, RETRAIN, known) == []
    new = write_dataset(mirror, label=7)
    assert new != old
    run_watch_data(environment)
    wait_until(
        lambda: [run["state_name"] for run in runs_of(prefect_url, RETRAIN, known)] == ["Completed"], timeout_s=120
    )
    assert digests_of(short) == old
    [run] = runs_of(prefect_url, RETRAIN, known)
    [name] = re.findall(r"the result is the DVC experiment (\S+) in", state(prefect_url, run["id"])["message"])
    dvc("exp", "apply", "-q", name)
    assert digests_of(short) == new
    description = json.loads(short.read("data/raw/dataset.json"))
    assert description["arrays"]["y_train"]["sha256"] == new["y_train"]
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        check_source()
    assert len(runs_of(prefect_url, RETRAIN, known)) == 1
    deployment = runs_of(prefect_url, RETRAIN, known)[0]["deployment_id"]
    run = api(prefect_url, "POST", f"/deployments/{deployment}/create_flow_run")["id"]
    wait_until(lambda: state(prefect_url, run)["name"] == "Cached", timeout_s=120)
    assert state(prefect_url, run)["message"].startswith("nothing to do: ")


@pytest.mark.server
@pytest.mark.farm
def test_a_fresh_clone_restores_the_retraining(short: Project, mirror: Path, tmp_path: Path, prefect_url: str) -> None:
    """A run in a fresh clone restores the results on new data that another clone pushed."""
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    commit(short.folder)
    write_dataset(mirror, label=9)
    program = "from flows.retrain import retrain; print(retrain(return_state=True).message)"
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path / "home")}
    messages = []
    for name in ("first", "second"):
        folder = tmp_path / name
        subprocess.run(["git", "clone", "--quiet", str(short.folder), str(folder)], check=True)
        process = run_python("-c", program, folder=folder, environment=environment)
        messages.append(process.stdout.strip())
    counts = [message.partition(";")[0] for message in messages]
    assert counts == ["1 of 1 stages ran", "0 of 1 stages ran, 1 restored"]


def run_watch_data(environment: dict[str, str]) -> None:
    """Run the flow `watch-data`, as its schedule does."""
    program = "from flows.retrain import watch_data; print(watch_data(return_state=True).message)"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)


def state(url: str, run: str) -> Any:
    """Return the state of a run."""
    return api(url, "GET", f"/flow_runs/{run}")["state"]
