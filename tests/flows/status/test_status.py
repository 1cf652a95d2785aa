"""`inkflow status` in real projects: with a Prefect server, without one, and with models in stages."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main as inkflow
from flows.core.file_lock import run_lock
from flows.status import model_section, server
from flows.status.collect import collect
from flows.status.local_sections import local_runs
from flows.status.server import MAX_DEPLOYMENTS, read_server
from tests.conftest import Toy
from tests.flows.registry.conftest import models
from tests.support.commands import dvc
from tests.support.http_server import Server
from tests.support.http_server import text as answer
from tests.support.loopback import free_port
from tests.support.prefect_api import api
from tests.support.root import ROOT

__all__ = ["models"]  # fixture


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Removes a server that the environment configures; one of a test, and a remote, may take their time."""
    for module, limit in ((server, "ANSWER_S"), (server, "REST_S"), (model_section, "REMOTE_S")):
        monkeypatch.setattr(module, limit, 240.0)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect-home"))


def shown(capsys: pytest.CaptureFixture[str], code: int, *options: str) -> str:
    """Returns the output of `inkflow status`, which has to end with this exit code."""
    capsys.readouterr()
    assert inkflow(["status", *options]) == code
    return capsys.readouterr().out


def needs(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Returns what needs a person, according to the JSON."""
    return [item["what"] for item in json.loads(shown(capsys, 3, "--json"))["needs"]]


def test_an_empty_project(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Without server, data, models and gates nothing needs a person; the JSON lacks what the project lacks."""
    assert "nothing needs a person\n" in shown(capsys, 0) and not Path(".inkflow/status.json").exists()
    content = json.loads(shown(capsys, 0, "--json"))
    assert content["schema"] == 1 and content["needs"] == [] and content["nightly"] is None
    assert content["server"]["url"] is content["server"]["as_of"] is None
    assert content["server"]["problem"].startswith("no server: PREFECT_API_URL is not set")
    assert not {"data", "models", "gates"} & content.keys()


@pytest.mark.parametrize("kind", ["closed", "silent", "other"])
def test_a_server_that_is_away(
    toy: Toy, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses, says nothing, or is no Prefect server is a need in one line; local facts are shown."""
    kept = {"closed": '{"at": "cut off', "silent": json.dumps({"at": "2026-11-28", "active": ["x"]}), "other": "[]"}
    toy.write({".inkflow/status.json": kept[kind]})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = free_port() if kind == "closed" else listener.getsockname()[1]
        address = "not a url" if kind == "other" else f"http://127.0.0.1:{port}/api"
        monkeypatch.setenv("PREFECT_API_URL", address)
        monkeypatch.setattr(server, "ANSWER_S", 0.5)
        text = shown(capsys, 3)
    assert f"! {address} gives no answer (" in text and "runs      not known without the server" in text


def test_a_server_that_refuses_its_name(
    toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server that answers 403 says is shown, such as the variable that the server of `inkflow up` names."""
    with Server().running() as other:
        other.respond_with(answer(403, b"not used under this name;\nadd it"))
        monkeypatch.setenv("PREFECT_API_URL", f"{other.url}/api")
        [need] = needs(capsys)
    assert need == f"{other.url}/api gives no answer (status 403: not used under this name; add it)"


def test_gates_and_data(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed gate of the present models needs a person; one of earlier models is told as such; a cut file is none."""
    check = {"model": "cnn", "gate": "lower_bound", "status": "failed", "sentence": "0.9, expected 0.94"}
    record: dict[str, Any] = {"passed": False, "note": None, "models": {"cnn": "0" * 64}, "checks": [check]}
    arrays = {"x_train": {"sha256": "1"}, "y_train": {"sha256": "2"}}
    toy.write({
        "reports/gates.json": json.dumps(record),
        "data/raw/dataset.json": json.dumps({"name": "digits", "arrays": arrays}),
    })  # fmt: skip
    assert needs(capsys) == ["1 gate failed: cnn, lower_bound: 0.9, expected 0.94"]
    assert "data      digits " in shown(capsys, 3)
    toy.write({"models/cnn/model.onnx": "another model"})
    assert "gates     of earlier models (cnn changed since): `inkflow run report`" in shown(capsys, 0)
    passed = record | {"models": {}, "passed": True, "checks": [check | {"status": "passed"}]}
    toy.write({"reports/gates.json": json.dumps(passed)})
    assert "gates     1 passed\n" in shown(capsys, 0)
    assert json.loads(shown(capsys, 0, "--json"))["gates"]["passed"] is True
    unknown = record | {"models": {}, "passed": None, "checks": [check | {"status": "not judged"}]}
    toy.write({"reports/gates.json": json.dumps(unknown)})
    assert "gates     1 not judged\n" in shown(capsys, 0)
    assert json.loads(shown(capsys, 0, "--json"))["gates"]["passed"] is None
    toy.write({"reports/gates.json": "{", "data/raw/dataset.json": "[]"})
    assert not {"data", "gates"} & json.loads(shown(capsys, 0, "--json")).keys()


@contextmanager
def run_of_another_process(folder: Path) -> Iterator[None]:
    """Holds the run lock of a folder in another process, as a shared one."""
    program = (
        "import sys; from pathlib import Path; from flows.core.file_lock import run_lock\n"
        "with run_lock(Path(sys.argv[1]), print, shared=True): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


def test_runs_of_this_folder(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of another process in the folder is shown without a server, and does not wait for the status; the run that
    renews the status does not show itself, nor a run in another folder.
    """
    with run_of_another_process(toy.folder):
        assert "a run is under way in this folder" in shown(capsys, 0)
        other = tmp_path / "other"
        other.mkdir()
        with run_lock(other, print):  # in which nothing but this process runs
            assert local_runs(other) == []
    with run_lock(toy.folder, print, shared=True):
        assert "under way" not in shown(capsys, 0)
        with run_of_another_process(toy.folder):
            assert "a run is under way in this folder" in shown(capsys, 0)


def test_files_in_use_of_a_killed_process(tmp_path: Path) -> None:
    """A process that has the id of a killed one writes nothing: the list of files in use is older than it."""
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"write": {"/a": {"pid": os.getpid(), "cmd": "inkflow run"}}}))
    assert local_runs(tmp_path) == [f"process {os.getpid()} writes a"]
    os.utime(path, times=(1, 1))
    assert local_runs(tmp_path) == []


@pytest.mark.parametrize("pid", ["Infinity", "NaN", "1" + "0" * 400, '"a"', "null"])
def test_files_in_use_of_impossible_processes(tmp_path: Path, pid: str) -> None:
    """An id that no process can have is that of none."""
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"write": {{"/a": {{"pid": {pid}, "cmd": "inkflow run"}}}}}}')
    assert local_runs(tmp_path) == []


def test_a_promoted_version_without_its_model(
    models: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version of each stage is shown; it needs a person once neither the cache nor a remote has its model."""
    store = tmp_path / "store"
    store.mkdir()
    assert inkflow(["promote", "net", "prod"]) == 0
    assert "models    prod: net v0.0.1 of " in shown(capsys, 0)
    dvc("remote", "add", "-q", "-d", "store", str(store))
    Path(".dvc/cache/files").rename(store / "files")  # pushed, and in no cache any more
    [model] = json.loads(shown(capsys, 0, "--json"))["models"]
    assert (model["stage"], model["version"], model["files"]) == ("prod", "v0.0.1", "in the remote")
    shutil.rmtree(store)
    assert needs(capsys) == ["net v0.0.1 is in prod, and its model is in no cache and no remote"]


@pytest.fixture
def nightly(prefect_url: str) -> Iterator[str]:
    """The deployment `inkflow/nightly` on a real server; returns its id."""
    flow = api(prefect_url, "POST", "/flows/", {"name": "inkflow"})["id"]
    created = api(prefect_url, "POST", "/deployments/", {"name": "nightly", "flow_id": flow})["id"]
    yield str(created)
    api(prefect_url, "DELETE", f"/deployments/{created}")


@pytest.mark.server
def test_with_a_server(
    toy: Toy, nightly: str, prefect_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last good and last failed run come from the server; the run that asks counts as ended; what was known is kept."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    flow = api(prefect_url, "GET", f"/deployments/{nightly}")["flow_id"]

    def start(kind: str, message: str) -> str:
        body = {"flow_id": flow, "deployment_id": nightly, "state": {"type": "RUNNING"}}
        identifier = str(api(prefect_url, "POST", "/flow_runs/", body)["id"])
        state = {"type": kind, "message": message}
        api(prefect_url, "POST", f"/flow_runs/{identifier}/set_state", {"state": state, "force": True})
        return identifier

    start("COMPLETED", "all good")
    status = collect(toy.folder)
    assert status.as_json()["nightly"]["last_good"]["message"] == "all good"
    start("FAILED", "the | reason")
    assert "inkflow/nightly failed 0 s ago: the | reason" in " ".join(
        need.what.replace(age_of(need.what), "0 s ago") for need in collect(toy.folder).needs
    )
    own = {"id": start("RUNNING", ""), "type": "COMPLETED", "state": "Completed", "message": "mine"}
    ended = collect(toy.folder, own_run=own).as_json()
    assert ended["nightly"]["last_good"]["message"] == "mine"
    assert own["id"] not in [run["id"] for run in ended["runs"]["running"]]
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    kept = json.loads(shown(capsys, 3, "--json"))
    assert kept["nightly"]["last_good"]["message"] == "mine" and "gives no answer" in kept["server"]["problem"]
    assert datetime.fromisoformat(kept["server"]["as_of"]) <= datetime.now(UTC)


@pytest.mark.farm
@pytest.mark.server
def test_a_server_with_many_deployments(
    toy: Toy, nightly: str, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many deployments of others are before them, the nightly and those with our tag are among the shown."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    flow = api(prefect_url, "POST", "/flows/", {"name": "of-others"})["id"]
    bodies = [{"name": f"a{number:02}", "flow_id": flow} for number in range(MAX_DEPLOYMENTS)]
    bodies.append({"name": "z", "flow_id": flow, "tags": ["inkflow"]})
    made = [api(prefect_url, "POST", "/deployments/", body)["id"] for body in bodies]
    try:
        names = [item["name"] for item in read_server(toy.folder).deployments]
    finally:
        for identifier in made:
            api(prefect_url, "DELETE", f"/deployments/{identifier}")
    assert names[0] == "inkflow/nightly" and "of-others/z" in names and len(names) == MAX_DEPLOYMENTS


@pytest.mark.server
def test_a_server_with_more_than_one_page(
    toy: Toy, nightly: str, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nightly, deployments with our tag, and those of active runs are found behind a full page of others, each with
    the name of its flow.
    """
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    monkeypatch.setattr(server, "LIMIT", 3)
    made = []
    for number in range(5):
        flow = api(prefect_url, "POST", "/flows/", {"name": f"a-page-{number}"})["id"]
        body = {"name": f"{number}-of-others", "flow_id": flow, "tags": ["inkflow"] if number == 3 else []}
        made.append(api(prefect_url, "POST", "/deployments/", body)["id"])
    try:
        run = {"flow_id": flow, "deployment_id": made[-1], "state": {"type": "RUNNING"}}
        identifier = api(prefect_url, "POST", "/flow_runs/", run)["id"]
        facts = read_server(toy.folder)
        api(prefect_url, "DELETE", f"/flow_runs/{identifier}")
    finally:
        for identifier in made:
            api(prefect_url, "DELETE", f"/deployments/{identifier}")
    names = [item["name"] for item in facts.deployments]
    assert names[0] == "inkflow/nightly" and {"a-page-3/3-of-others", "a-page-4/4-of-others"} <= set(names)
    assert not any(name.startswith("?/") for name in names)
    assert "a-page-4/4-of-others" in [run["of"] for run in facts.active]


def age_of(text: str) -> str:
    """Returns the age in a need."""
    return text.partition("failed ")[2].partition(":")[0]
