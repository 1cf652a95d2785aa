"""`dvc` and `inkflow` as processes of their own, which start in a tenth of a second.

They are forks of a process that has imported DVC and Prefect. A command that is ended by a signal, or that leaves
processes behind, wants a process of its own by `subprocess`: the end of a fork ends what it has started.
"""

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from flows.engine.processes.fork_protocol import receive_int, request_fork
from tests.support.root import ROOT


class CommandServer:
    """The process that forks."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # an abstract address that the system chooses
            listener.listen(128)
            self._address = listener.getsockname()
            command = [sys.executable, "-m", "tests.support.command_server", str(os.getpid()), str(listener.fileno())]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.wait()

    def run(
        self, arguments: list[str], folder: Path, environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str] | None":
        """Runs `python ARGUMENTS` in `folder`; returns None if the server has ended, as after a change of code."""
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            if connection.connect_ex(self._address):
                return None
            variables = {**environment, "PWD": str(folder)}
            request_fork(connection, arguments, variables, str(folder), [out.fileno(), err.fileno()])
            if receive_int(connection) is None:  # the process id
                return None
            code = receive_int(connection)
            if code is None:
                raise RuntimeError(f"the server of commands ended while `python {' '.join(arguments)}` ran")
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
            return subprocess.CompletedProcess(["python", *arguments], code, *texts)


_servers: list[CommandServer] = []  # the last one is in use
_starting = threading.Lock()


def run_python(
    *command: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m MODULE ARGUMENT...` or `python -c CODE ARGUMENT...`; returns its exit code and its output.

    Args:
        command: the command line after `python`.
        folder: its working directory; the current one if None.
        environment: its environment; that of this process if None.
    """
    folder, environment = folder or Path.cwd(), os.environ if environment is None else environment
    if not sys.platform.startswith("linux"):
        return subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    with _starting:  # threads share the first one
        if not _servers:
            _servers.append(CommandServer())
    for _ in range(3):
        if done := _servers[-1].run(list(command), folder, environment):
            return done
        _servers.append(CommandServer())
    raise RuntimeError("the server of commands does not start")


def dvc(*arguments: str, folder: Path | None = None) -> str:
    """Runs a `dvc` command, which must succeed, and returns its output."""
    done = run_python("-m", "dvc", *arguments, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
