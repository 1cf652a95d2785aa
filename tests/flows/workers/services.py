"""Runs real OpenSSH and Prefect servers on loopback, each with its own folder, and hosts with separate homes."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import wait_until
from tests.support.own_settings import BIN
from tests.support.root import ROOT

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
StrictModes no
PasswordAuthentication no
UsePAM no
MaxStartups 200
Subsystem sftp internal-sftp
"""


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_program(name: str, *folders: str) -> str:
    """Return the path of a system program; skip the test if it is not installed."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *folders]))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class Service:
    """A server process that can be killed, with its descendants, and started again."""

    def __init__(self, command: Sequence[str], log: Path, is_ready: Callable[[], bool], **options: object) -> None:
        self._command, self._log, self._is_ready, self._options = command, log, is_ready, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the process."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._options
            )

    def wait_until_ready(self) -> None:
        """Wait until the process is ready."""
        try:
            wait_until(self._is_ready, timeout_s=120)
        except TimeoutError:
            raise AssertionError(f"{self._command[0]} did not start: {self._log.read_text()[-3000:]}") from None

    def stop(self) -> None:
        """Kill the process and its descendants, as a machine failure does."""
        if self.process is not None:
            kill_tree(self.process.pid)
            self.process.wait(timeout=240)
            self.process = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the process until the block ends."""
        self.start()
        try:
            yield
        finally:
            self.stop()


def kill_tree(pid: int) -> None:
    """Kill a process and all its descendants."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=240)


def is_listening(port: int) -> bool:
    """Return True if a server listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Sshd(Service):
    """An OpenSSH server with its own keys, which serves files by SFTP."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        for name in ("host", "user"):
            command = [find_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [find_program("sshd"), "-D", "-e", "-f", str(folder / "config")]
        super().__init__(command, folder / "log", lambda: is_listening(self.port))

    def url(self, path: Path) -> str:
        """Return the address of a folder as a DVC remote."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def write_config(self, home: Path) -> None:
        """Write the configuration with which OpenSSH clients log in, for a user with the folder `home`."""
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh/config").write_text(f"Host 127.0.0.1\n    IdentityFile {self.folder}/user\n")


class PrefectServer(Service):
    """A Prefect server with the database at the URL `database`."""

    def __init__(self, folder: Path, database: str, settings: Mapping[str, str] | None = None) -> None:
        folder.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        environment = os.environ | {
            "HOME": str(folder),
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            **(settings or {}),
        }
        environment.pop("PREFECT_API_URL", None)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        super().__init__(command, folder / "log", self._is_healthy, env=environment, cwd=folder)

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=20).status_code == 200
        except httpx.TransportError:
            return False


class Host:
    """A machine with its own home, which shares nothing with other hosts but the network."""

    def __init__(self, folder: Path, server: PrefectServer) -> None:
        folder.mkdir(parents=True)
        self.folder, self.name = folder, folder.name
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "INKFLOW"))}
        self.environment = environment | {
            "HOME": str(folder),
            "PREFECT_HOME": str(folder / ".prefect"),
            "PREFECT_API_URL": server.url,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),  # the flows of this checkout, in place of an installed package
            "DO_NOT_TRACK": "1",
            "TMPDIR": str(folder),
        }

    def run(
        self, *command: str, folder: Path | None = None, timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this host."""
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def check_output(self, *command: str, folder: Path | None = None) -> str:
        """Run a command that has to succeed, and return its output."""
        process = self.run(*command, folder=folder)
        assert process.returncode == 0, f"{' '.join(command)}: {process.stdout}{process.stderr}"
        return process.stdout
