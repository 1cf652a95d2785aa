"""Retraining on new data: seen at their source, told as an event once, taken by a run that the event starts."""

import json
import os
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

from flows.retrain import watch_data
from stages.base.errors import InvalidInput, SourceUnavailable
from stages.data.datasets import digest
from stages.download import source_digests
from stages.download.digits import load_digits
from tests.conftest import Project, wait_until
from tests.flows.dvc_repo.test_remotes import commit
from tests.flows.test_deployment import environment, prefect, worker
from tests.support.http_server import Server, serve
from tests.support.loopback import serving
from tests.support.prefect_api import api

__all__ = ["environment", "worker"]  # fixtures

GRAPH = """
stages:
  download:
    cmd: python -m stages.download --out data/raw
    params: [dataset, datasets]
    deps: [stages/download/download.py]
    outs: [data/raw/dataset.npz, data/raw/dataset.json]
"""
LAST = 599  # training sample that gets another label


@pytest.fixture(autouse=True)
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with digits in the place of MNIST; the file."""
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    path = tmp_path / "mirror" / "mnist.npz"
    put(path)
    return path


def put(path: Path, label: int | None = None) -> dict[str, str]:
    """Write digits there, the last training sample with another `label`; the digests."""
    arrays = {name: array[:600] for name, array in load_digits().named().items()}
    if label is not None:
        arrays["y_train"] = arrays["y_train"].copy()
        arrays["y_train"][LAST] = label
    np.savez(path, allow_pickle=False, **arrays)
    return {name: digest(array) for name, array in arrays.items()}


@pytest.fixture
def short(project: Project, mirror: Path) -> Project:
    """A copy of the project that downloads and does no more, on the data of the mirror."""
    project.write({"dvc.yaml": GRAPH})
    project.set({"dataset": "mnist", "datasets.mnist.sha256": put(mirror)})
    return project


def digests_of(project: Project) -> Any:
    """Digests in params.yaml."""
    return YAML(typ="safe").load(project.read("params.yaml"))["datasets"]["mnist"]["sha256"]


@pytest.mark.server
def test_news_that_were_lost_are_told_again(
    short: Project, mirror: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """News that the server does not take are told at the next look; those that it took, once."""
    put(mirror, label=5)
    with Between(prefect_url).running() as between, temporary_settings({PREFECT_API_URL: between.url}):
        between.takes_events = False
        states = [watched()]
        between.takes_events = True
        states += [watched(), watched()]
    assert [state.is_completed() for state in states] == [False, True, True]
    assert "the next look tells" in str(states[0].message)
    assert between.told == ["mnist"]


def watched() -> State[Any]:
    """Look for new data outside of a run."""
    with disable_run_logger():
        found: State[Any] = watch_data.fn()
    return found


class Between:
    """Stands before Prefect's server and hands all but events on: those it takes itself, or none while it shall not.

    An event that reached the server could start a run of an automation that another test makes later.
    """

    def __init__(self, server: str) -> None:
        self.takes_events = True
        self.told: list[str] = []  # data sets that events named which were taken
        self._server = server
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"

    @contextmanager
    def running(self) -> Iterator["Between"]:
        """Serve as long as the block lasts."""
        with serving(self._http):
            yield self

    def answer(self, request: BaseHTTPRequestHandler) -> httpx.Response:
        """What the server says, or that it does not take an event."""
        content = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = request.path.removeprefix("/api")
        if path == "/events" and not self.takes_events:
            return httpx.Response(400)
        if path == "/events":
            self.told += [event["resource"]["prefect.resource.name"] for event in json.loads(content)]
            return httpx.Response(204)
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        return httpx.request(request.command, self._server + path, content=content, headers=headers, timeout=60)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        between = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = between.answer(self)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(900)  # as a busy machine needs
def test_new_data_start_a_run(
    short: Project, mirror: Path, worker: Path, environment: dict[str, str], prefect_url: str
) -> None:
    """New data at the source are told once; the run that this starts writes their digests and takes them."""
    wait_until(lambda: httpx.get(f"{prefect_url}/work_pools/local").status_code == 200, timeout_s=60)
    prefect("deploy", "--name", "retrain-on-new-data", environment=environment)
    known = digests_of(short)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        watched()
    assert retrained(prefect_url) == []
    new = put(mirror, label=7)
    assert new != known
    look(environment)
    wait_until(lambda: [run["state_name"] for run in retrained(prefect_url)] == ["Completed"], timeout_s=120)
    assert digests_of(short) == new
    description = json.loads(short.read("data/raw/dataset.json"))
    assert description["arrays"]["y_train"]["sha256"] == new["y_train"]
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        watched()
    assert len(retrained(prefect_url)) == 1
    again = retrained(prefect_url)[0]["deployment_id"]
    run = api(prefect_url, "POST", f"/deployments/{again}/create_flow_run")["id"]
    wait_until(lambda: state(prefect_url, run)["name"] == "Cached", timeout_s=120)
    assert state(prefect_url, run)["message"].startswith("nothing to do: ")


@pytest.mark.server
def test_new_data_that_another_clone_took(short: Project, mirror: Path, tmp_path: Path, prefect_url: str) -> None:
    """What a run made of the new data in one clone and pushed, a run in a fresh clone restores."""
    subprocess.run(["dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store")], check=True)
    commit(short.folder)
    put(mirror, label=9)
    program = "from flows.retrain import retrain; print(retrain(return_state=True).message)"
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path / "home")}
    said = []
    for name in ("first", "second"):
        folder = tmp_path / name
        subprocess.run(["git", "clone", "--quiet", str(short.folder), str(folder)], check=True)
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        said.append(done.stdout.strip())
    assert said == ["1 of 1 stages ran", "0 of 1 stages ran, 1 restored"]


def look(environment: dict[str, str]) -> None:
    """Look for new data, as the schedule does."""
    program = "from flows.retrain import watch_data; print(watch_data(return_state=True).message)"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)


def retrained(url: str) -> list[dict[str, Any]]:
    """Runs of the deployment that takes new data."""
    wanted = {"deployments": {"name": {"any_": ["retrain-on-new-data"]}}}
    found: list[dict[str, Any]] = api(url, "POST", "/flow_runs/filter", wanted)
    return found


def state(url: str, run: str) -> Any:
    """State of a run."""
    return api(url, "GET", f"/flow_runs/{run}")["state"]


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What the program printed."""
    return json.loads(capsys.readouterr().out)


def test_digests_of_a_folder_and_of_an_address(
    short: Project, mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mirror is looked at, folder or address; what is there stands beside what params.yaml says."""
    new = put(mirror, label=3)
    assert source_digests.main([]) == 0
    of_folder = said(capsys)
    assert of_folder["present"] == new
    assert of_folder["recorded"] == digests_of(short)
    with Server().running() as server:
        server.told(serve(mirror.read_bytes()))
        monkeypatch.setenv("INKFLOW_MIRROR", server.url)
        assert source_digests.main([]) == 0
    assert said(capsys)["present"] == new


def test_an_embedded_data_set_never_changes(short: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The digits come with a library: there is no source to look at."""
    assert source_digests.main(["--dataset", "digits"]) == 0
    found = said(capsys)
    assert found["source"] is None
    assert found["present"] == found["recorded"]


def test_an_older_copy_elsewhere_is_no_news(short: Project, mirror: Path) -> None:
    """Without the mirror's file nothing is said of other sources, whatever they have."""
    mirror.unlink()
    with pytest.raises(SourceUnavailable, match="there is no such file"):
        source_digests.main([])


def test_unknown_data_set(short: Project) -> None:
    """A name that params.yaml does not have is refused with those that it has."""
    with pytest.raises(InvalidInput, match="there is no key 'mnits'; did you mean 'mnist'\\? known: mnist, digits"):
        source_digests.main(["--dataset", "mnits"])
