"""The names of the workers of `inkflow up`, by which the next start knows the runs that died with the last one."""

import platform
import shutil
import socket
from pathlib import Path

import pytest

from flows.prefect_server import dead_runs
from flows.prefect_server.credentials import HOME
from flows.prefect_server.dead_runs import ID_FILE, worker_name


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
