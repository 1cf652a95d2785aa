"""Real servers for DVC remotes on loopback: OpenSSH with its own keys, and the S3 server of moto."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.support.loopback import free_port

START_S = 120.0  # timeout of a start on a busy machine
SECRET = "correct-horse-battery"
PRIVILEGE_FOLDER = Path("/run/sshd")  # sshd needs this empty folder if root starts it


@dataclass(frozen=True)
class SshServer:
    """An OpenSSH server on loopback, a key that it accepts, and one that it rejects."""

    port: int
    key: Path
    other_key: Path
    folder: Path

    @property
    def url(self) -> str:
        """Address of a folder on the server, for a DVC remote."""
        return f"ssh://127.0.0.1:{self.port}{self.folder}"


@contextmanager
def ssh_server(home: Path) -> Iterator[SshServer]:
    """Starts an OpenSSH server with its files in `home`; it uses no files of the user."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs OpenSSH's server (Debian: openssh-server)")
    keys = [home / name for name in ("host_key", "key", "other_key")]
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copyfile(home / "key.pub", home / "authorized_keys")
    server = SshServer(free_port(), keys[1], keys[2], home / "store")
    settings = {
        "Port": server.port, "ListenAddress": "127.0.0.1", "HostKey": keys[0], "PidFile": home / "pid",
        "AuthorizedKeysFile": home / "authorized_keys", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "Subsystem": "sftp internal-sftp",
        "MaxStartups": "100",
    }  # fmt: skip
    (home / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with _privilege_folder(), (home / "log").open("w") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(home / "sshd_config")], stderr=log)
        try:
            wait_until(lambda: _listens(server.port), START_S)
            yield server
        finally:
            process.terminate()
            process.wait(240)


@contextmanager
def _privilege_folder() -> Iterator[None]:
    """Creates the folder that Debian's service creates before it starts sshd."""
    if os.getuid() == 0:
        PRIVILEGE_FOLDER.mkdir(mode=0o755, exist_ok=True)  # not removed, because another server may use it
    yield


@contextmanager
def s3_server(home: Path) -> Iterator[str]:
    """Starts an S3 server with a bucket `inkflow`, and yields its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(url), START_S)
            httpx.put(f"{url}/inkflow", timeout=START_S).raise_for_status()  # creates a bucket
            yield url
        finally:
            process.terminate()
            process.wait(240)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=20).status_code < 500
    except httpx.TransportError:
        return False
