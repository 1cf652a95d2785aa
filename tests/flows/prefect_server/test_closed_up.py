"""`inkflow up` is closed to other users of the machine: a password, the names of this machine, a closed folder."""

import base64
import html
import json
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from flows.prefect_server import up as up_command
from flows.prefect_server.credentials import (
    LOGIN_PATH,
    PAGE_FILE,
    close_folder,
    find_password,
    read_or_create_password,
)
from stages.base.errors import InkflowError
from tests.support.up_process import Up, environment


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(900)  # on a busy machine
def test_server_needs_its_password(up: Up) -> None:
    """Another user of the machine starts no run and emits no event; the password is in no output and no log."""
    path = up.folder / ".inkflow/up/auth"
    assert path.stat().st_mode & 0o777 == 0o600
    _, password = up.auth
    url = f"{up.api}/flow_runs/count"
    answers = [httpx.post(url, json={}, auth=auth, timeout=240) for auth in (None, up.auth)]
    assert [answer.status_code for answer in answers] == [401, 200]
    with connect(f"ws://127.0.0.1:{up.port}/api/events/in", subprotocols=[Subprotocol("prefect")]) as socket:
        socket.send(json.dumps({"type": "auth", "token": "inkflow:guessed"}))
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=240)
    assert password not in up.output + up.logs and "in .inkflow/up/auth" in up.output


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "[::1", ""])
def test_other_host_names_are_refused(up: Up, host: str) -> None:
    """A page whose name was given the address of this machine (DNS rebinding) reads nothing, not even with its own
    origin, and no page to log in.
    """
    name = host.format(port=up.port)
    headers = {"Host": name, "Origin": f"http://{name}"}
    for path in ("/api/health", "/api/admin/version", LOGIN_PATH, "/"):
        response = httpx.get(f"http://127.0.0.1:{up.port}{path}", headers=headers, auth=up.auth, timeout=240)
        assert (response.status_code, "Prefect" in response.text) == (403, False)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
def test_page_opens_with_the_password(up: Up) -> None:
    """The page in the folder of `inkflow up` leads to the log-in with the password, which only this user can read."""
    path = up.folder / ".inkflow/up" / PAGE_FILE
    token = base64.b64encode(":".join(up.auth).encode()).decode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"url=http://127.0.0.1:{up.port}{LOGIN_PATH}#{token}" in html.unescape(path.read_text())
    assert "prefect-password" in httpx.get(f"http://localhost:{up.port}{LOGIN_PATH}", timeout=240).text


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
def test_clients_in_the_folder_know_the_password(up: Up) -> None:
    """`inkflow` in the folder finds the password of the running server, and gives it to no other address."""
    program = (
        "from pathlib import Path; from flows.prefect_server.credentials import find_password\n"
        f"print(find_password(Path(), 'http://127.0.0.1:{up.port + 1}/api'))\n"
        f"print(find_password(Path(), 'http://localhost:{up.port}/api/'))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=up.folder, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", ":".join(up.auth)]


def test_password_is_made_once(tmp_path: Path) -> None:
    """The password is kept for the next start; an open file is closed, a damaged file or a link is replaced."""
    path = tmp_path / "auth"
    first = read_or_create_password(path)
    assert read_or_create_password(path) == first and first.startswith("inkflow:") and len(first) > 30
    path.chmod(0o644)
    assert read_or_create_password(path) == first and path.stat().st_mode & 0o777 == 0o600
    for damaged in ("", "inkflow:", "no colon", "\n"):
        path.write_text(damaged)
        assert len(read_or_create_password(path)) > 30
    (tmp_path / "target").write_text("me:known")
    path.unlink()
    path.symlink_to(tmp_path / "target")
    assert read_or_create_password(path) != "me:known" and not path.is_symlink()


def test_folder_is_closed(tmp_path: Path) -> None:
    """The folder is closed to others, also if it was open; a link and a folder of another user are refused."""
    folder = tmp_path / "a" / "b"
    close_folder(folder)
    folder.chmod(0o777)
    close_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InkflowError, match="not a folder of this user"):
        close_folder(tmp_path / "link")
    if os.getuid():
        with pytest.raises(InkflowError, match="not a folder of this user"):
            close_folder(Path("/"))


def test_address_of_a_killed_server_gets_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that a killed `inkflow up` left gets no password: it may belong to another user by now."""
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    home = tmp_path / ".inkflow/up"
    close_folder(home)
    (home / "address").write_text("http://127.0.0.1:4200/api")
    (home / "auth").write_text("inkflow:secret")
    (tmp_path / ".inkflow/up.lock").touch()
    assert find_password(tmp_path, "http://127.0.0.1:4200/api") is None


def test_a_deployment_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build step of prefect.yaml that waits for ever is ended with `inkflow up`."""
    command, stop, restarts = tmp_path / "python", threading.Event(), []
    command.write_text("#!/bin/sh\nexec sleep 600\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(command))
    monkeypatch.setattr(up_command, "prefect_client", nullcontext)
    monkeypatch.setattr("flows.prefect_server.deployments.write_deployments", lambda *_: tmp_path / "prefect.yaml")
    settings = SimpleNamespace(root=tmp_path, home=tmp_path, client_environment=dict)

    def restart_dead() -> None:
        restarts.append("")
        stop.set()

    up_command._deploy(settings, SimpleNamespace(environment={}, restart_dead=restart_dead), stop)  # type: ignore[arg-type]
    assert restarts == [""]
