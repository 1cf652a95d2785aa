"""The runs that ended with the last `inkflow up`: the next start knows them by its workers' names, and marks them."""

import platform
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Completed, Crashed, Running
from prefect.types import KeyValueLabels

from flows.prefect_server import dead_runs
from flows.prefect_server.crashes import DIED, SILENT, STOPPED, end_message, forget_stop, note_stop
from flows.prefect_server.credentials import HOME
from flows.prefect_server.dead_runs import (
    ID_FILE,
    RETRY_FLOW,
    WORKER_LABEL,
    find_dead_runs,
    mark_dead_runs,
    worker_name,
)


def test_each_start_has_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new container with the same folder has another host name, but the same name for its worker."""
    first = worker_name(tmp_path, "local")
    for module, function in ((platform, "node"), (socket, "gethostname")):
        monkeypatch.setattr(module, function, lambda: "another-container")
    assert worker_name(tmp_path, "local") == first != worker_name(tmp_path, "gpu")
    assert first.startswith("local of up ")


def test_folders_and_machines_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another folder at the same path, a copy of the folder, and a machine with a copy have other names."""
    root, copy, machine = tmp_path / "root", tmp_path / "copy", tmp_path / "machine-id"
    monkeypatch.setattr(dead_runs, "MACHINE_ID", machine)
    names = [worker_name(root, "local")]
    shutil.copytree(root, copy)
    names.append(worker_name(copy, "local"))
    machine.write_text("of another machine\n")
    names.append(worker_name(root, "local"))
    shutil.rmtree(root)
    names.append(worker_name(root, "local"))
    assert len(set(names)) == 4


@pytest.mark.parametrize("content", [b"", b"0123", b"\xff" * 32, b"0" * 1000], ids=["empty", "cut", "binary", "long"])
def test_a_damaged_id_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """A file that has no id gets one, which then stays."""
    path = tmp_path / HOME / ID_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    first = worker_name(tmp_path, "local")
    assert len(path.read_text()) == 33 and worker_name(tmp_path, "local") == first


def test_a_stop_is_told_from_a_crash(tmp_path: Path) -> None:
    """The runs of a noted stop have another message than those of a kill; each note counts for one start."""
    assert end_message(tmp_path) == DIED
    note_stop(tmp_path)
    assert [end_message(tmp_path), end_message(tmp_path)] == [STOPPED, STOPPED]  # also if a start fails midway
    forget_stop(tmp_path)
    assert end_message(tmp_path) == DIED
    forget_stop(tmp_path)
    note_stop(tmp_path / "missing")  # as on a full disk: no error
    assert end_message(tmp_path / "missing") == DIED


@pytest.mark.server
def test_each_dead_run_gets_its_end(prefect_url: str, tmp_path: Path) -> None:
    """Runs that ran are crashed, cancelled ones cancelled, a retry waits for its start; ended ones stay."""
    states: dict[str, list[State[Any]]] = {
        "running": [Running()],
        "silent": [Running(), Crashed(message=SILENT)],  # the server's automation was faster than `inkflow up`
        "cancelling": [Running(), Cancelling()],
        "crashed": [Running(), Crashed(message="exit 1")],
        "completed": [Running(), Completed()],
        RETRY_FLOW: [Running()],
    }
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        started = datetime.now(UTC)
        client.create_work_pool(WorkPoolCreate(name="dead", type="process"))
        ids = {}
        for name, each in states.items():
            flow = client.create_flow(Flow(lambda: None, name=name))
            deployment = client.create_deployment(flow, name, work_pool_name="dead")
            labels: KeyValueLabels = {WORKER_LABEL: worker_name(tmp_path, "dead")}
            ids[name] = client.create_flow_run_from_deployment(deployment, labels=labels).id
            for state in each:
                client.set_flow_run_state(ids[name], state, force=True)
        dead = find_dead_runs(client, tmp_path, ["dead"], started)
        assert {run.id for run in dead} == {ids[name] for name in ("running", "silent", "cancelling", RETRY_FLOW)}
        mark_dead_runs(client, dead, STOPPED)
        ends = {name: client.read_flow_run(identifier).state for name, identifier in ids.items()}
        assert {name: (state.type, state.message) for name, state in ends.items() if state} == {
            "running": (StateType.CRASHED, STOPPED),
            "silent": (StateType.CRASHED, STOPPED),
            "cancelling": (StateType.CANCELLED, STOPPED),
            "crashed": (StateType.CRASHED, "exit 1"),
            "completed": (StateType.COMPLETED, None),
            RETRY_FLOW: (StateType.SCHEDULED, STOPPED),
        }
        assert find_dead_runs(client, tmp_path, ["dead"], started) == []
