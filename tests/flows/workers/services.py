"""Real servers for stages on other machines: OpenSSH and Prefect on loopback, each with its own folder."""

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

from tests.conftest import BIN, wait_until
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
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str, *folders: str) -> str:
    """Path of a system's program, or the test is skipped."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *folders]))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class Service:
    """A process that can be ended and started again, with all that it started."""

    def __init__(self, command: Sequence[str], log: Path, ready: Callable[[], bool], **options: object) -> None:
        self._command, self._log, self._ready, self._options = command, log, ready, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._options
            )

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        try:
            wait_until(self._ready, timeout_s=120)
        except TimeoutError:
            raise AssertionError(f"{self._command[0]} did not start: {self._log.read_text()[-3000:]}") from None

    def stop(self) -> None:
        """End it; without grace, as a failing machine does."""
        if self.process is not None:
            end_tree(self.process.pid)
            self.process.wait(timeout=30)
            self.process = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """At work as long as the block lasts."""
        self.start()
        try:
            yield
        finally:
            self.stop()


def end_tree(pid: int) -> None:
    """Kill a process and all that descends from it."""
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
    psutil.wait_procs(family, timeout=30)


def answers(port: int) -> bool:
    """True when somebody listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Sshd(Service):
    """An OpenSSH server with keys of its own; files are reached by SFTP."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        for name in ("host", "user"):
            command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [program("sshd"), "-D", "-e", "-f", str(folder / "config")]
        super().__init__(command, folder / "log", lambda: answers(self.port))

    def url(self, path: Path) -> str:
        """Address of a folder as a DVC remote."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def write_config(self, home: Path) -> None:
        """Tell OpenSSH's clients of somebody whose home is there how to log in."""
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh/config").write_text(f"Host 127.0.0.1\n    IdentityFile {self.folder}/user\n")


class PrefectServer(Service):
    """A Prefect server that keeps what it knows in `database`."""

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
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


class Host:
    """One machine of several: a home of its own, nothing of the others' but what goes over the network."""

    def __init__(self, folder: Path, server: PrefectServer) -> None:
        folder.mkdir(parents=True)
        self.folder, self.name = folder, folder.name
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "INKFLOW"))}
        self.environment = environment | {
            "HOME": str(folder),
            "PREFECT_HOME": str(folder / ".prefect"),
            "PREFECT_API_URL": server.url,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),  # this checkout's flows, as an installed package
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

    def do(self, *command: str, folder: Path | None = None) -> str:
        """Output of a command that has to succeed."""
        done = self.run(*command, folder=folder)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout
