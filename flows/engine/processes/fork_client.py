"""Starts stages as forks of processes that have imported their modules, so that a run imports them only once.

Only commands of the form `python -m MODULE ARGUMENT...` become forks; the shell runs all others.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, Self

from flows.engine.processes.fork_protocol import POLL_S, is_readable, is_same_user, receive_int, request_fork
from flows.engine.processes.process_trees import GRACE_S, terminate_trees
from flows.engine.resources import GPUS

IMPORT_TIMEOUT_S = 120.0  # on a busy machine
PROGRAM = Path(__file__).with_name("stage_fork_server.py")
PLAIN_COMMAND = re.compile(r"python3? -m [\w.]+( [\w@%+=:,./ -]+)?")  # has no characters that a shell interprets
PLAIN_SHELLS = ("sh", "dash", "bash")
STAGE_VARIABLES = re.compile(f"DVC_.*|INKFLOW_OPENED|PREFECT_.*|PWD|{GPUS}")  # of a stage; they affect no import


class ServerKey(NamedTuple):
    """Modules and an environment: stages with the same key can be forks of the same process."""

    modules: tuple[str, ...]
    environment: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, modules: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Returns the key of a stage, without the variables that may differ between stages."""
        shared = {name: value for name, value in environment.items() if not STAGE_VARIABLES.fullmatch(name)}
        return cls(tuple(modules), frozenset(shared.items()))


class Fork:
    """A forked process, with the part of the interface of `subprocess.Popen` that the engine uses."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self._connection = pid, connection

    def wait(self) -> int:
        """Waits for the process to end, and returns its exit code; a negative signal number if a signal ended it."""
        code = receive_int(self._connection)
        return -signal.SIGKILL if code is None else code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class ForkServerProcess:
    """A process that imports modules and then forks on request."""

    def __init__(self, key: ServerKey, folder: Path) -> None:
        self._is_late = False  # the imports took longer than IMPORT_TIMEOUT_S
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind("")  # an abstract address that the system chooses; it disappears with the process
            listener.listen(128)
            self._address = listener.getsockname()
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `terminate`
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(os.getpid()), str(listener.fileno()), str(folder), *key.modules],
                cwd=folder,
                env=dict(key.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        output: int,
        is_wanted: Callable[[], bool],
    ) -> Fork | None:
        """Waits for the imports, and returns a fork that does what `python *arguments` does.

        Args:
            arguments: command line after `python`.
            environment: environment of the fork.
            folder: working directory of the fork.
            output: file descriptor for its standard output and standard error.
            is_wanted: ends the wait when it returns False.

        Returns:
            The fork; None if the server cannot fork, or if `is_wanted` returned False during the wait.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            if connection.connect_ex(self._address) or not is_same_user(connection):
                return None
            request_fork(connection, arguments, environment, folder, [output, output])
            deadline = time.monotonic() + IMPORT_TIMEOUT_S
            while not is_readable(connection, POLL_S):
                if time.monotonic() > deadline:
                    self._is_late = True
                if self._is_late or not is_wanted():
                    return None
            pid = receive_int(connection)
            if pid is None:
                with suppress(subprocess.TimeoutExpired):  # so that `failure` finds the exit code
                    self._process.wait(GRACE_S)
                return None
            stack.pop_all()
            return Fork(pid, connection)

    @property
    def failure(self) -> str:
        """Why the process cannot be used; empty if it runs, or ended because its code is outdated."""
        if self._is_late:
            return f"not imported after {IMPORT_TIMEOUT_S:g} s"
        if not self._process.poll():
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def terminate(self) -> None:
        """Terminates the process and its forks."""
        terminate_trees([self._process.pid])
        self._process.wait()
        self._stderr.close()


class ForkClient:
    """The fork servers of one engine, by modules and environment; called from many threads."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self._folder, self._log = folder, log
        self._servers: dict[ServerKey, ForkServerProcess | None] = {}  # None: the server failed
        self._lock, self._is_closed = threading.Lock(), False

    def preload(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts a fork server for stages with these modules and this environment; does not wait for its imports."""
        key = ServerKey.of(modules, environment)
        with self._lock:
            if self._is_closed or not modules or key in self._servers or not sys.platform.startswith("linux"):
                return
            try:
                self._servers[key] = ForkServerProcess(key, self._folder)
                return
            except OSError as error:
                self._servers[key], failure = None, error
        self._log_failure(key, str(failure))

    def start(
        self,
        line: str,
        modules: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        output: int,
        is_wanted: Callable[[], bool],
    ) -> Fork | None:
        """Starts the command `line` as a fork; returns None if there is no server for it, or if it needs a shell."""
        key = ServerKey.of(modules, environment)
        server = self._servers.get(key)
        if server is None or not _is_plain_python(line, environment):
            return None
        fork = server.fork(shlex.split(line)[1:], {**environment, "PWD": folder}, folder, output, is_wanted)
        if fork is None and is_wanted():
            self._disable_failed(key, server)
        return fork

    def close(self) -> None:
        """Terminates all servers, which ends waits for them; none can be started afterwards."""
        with self._lock:
            self._is_closed = True
            servers = [server for server in self._servers.values() if server is not None]
            self._servers.clear()
        for server in servers:
            server.terminate()

    def _disable_failed(self, key: ServerKey, server: ForkServerProcess) -> None:
        """Terminates a server that has failed, and logs the failure once."""
        with self._lock:
            if self._servers.get(key) is not server or not (failure := server.failure):
                return
            self._servers[key] = None
        server.terminate()
        self._log_failure(key, failure)

    def _log_failure(self, key: ServerKey, failure: str) -> None:
        self._log(f"preload: {' '.join(key.modules)}: {failure}; stages start without it")


def _is_plain_python(line: str, environment: Mapping[str, str]) -> bool:
    """True if a shell would only start this Python interpreter with a module, without reading a file of its own."""
    shell = Path(environment.get("SHELL") or "sh").name
    reads_file = shell == "bash" and "BASH_ENV" in environment
    if not PLAIN_COMMAND.fullmatch(line) or shell not in PLAIN_SHELLS or reads_file:
        return False
    program, interpreter = shutil.which(line.split()[0], path=environment.get("PATH")), Path(sys.executable)
    if program is None:
        return False
    return Path(program).parent == interpreter.parent and Path(program).resolve() == interpreter.resolve()
