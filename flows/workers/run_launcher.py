"""The command of a flow run in a process pool: does what `python -m prefect.engine` does, with the imports done before.

A worker starts a process for each run, and the imports of Prefect and DVC take most of the processor time of a short
stage's run. The first run of a worker starts a fork server for it (`run_fork_server`); the runs become forks of that.
This module imports only what loads quickly. It sends environment, folder and output, passes signals on, and ends with
the exit code of the fork. Without a fork server the run starts as it would without this module.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

from flows.core.code_path import own_command
from flows.engine.processes.fork_protocol import is_same_user, receive_int, request_fork

START_TIMEOUT_S = 60.0
POLL_S = 0.05
RUN_VARIABLES = "PREFECT__"  # prefix of the variables that name one flow run
ARGUMENTS = ["-m", "prefect.engine"]  # what a worker runs where a deployment sets no command


def main() -> None:
    """Runs the flow run that the environment names, and ends with its exit code."""
    connection, pid = _connect(), None
    if connection is not None:
        request_fork(connection, ARGUMENTS, os.environ, os.getcwd(), [1, 2])  # noqa: PTH109 - pathlib loads slowly
        pid = receive_int(connection)
    if connection is None or pid is None:
        os.execv(sys.executable, [sys.executable, *ARGUMENTS])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: _forward(pid, received))
    code = receive_int(connection)
    if code is None:  # the fork server was killed, and its forks with it
        sys.exit(1)
    sys.exit(code if code >= 0 else 128 - code)  # as a shell reports a signal


def socket_name(worker: int) -> str:
    """Returns the abstract address of a worker's fork server; it holds the start time, since process ids are reused."""
    return f"\0inkflow-{os.getuid()}-{worker}-{start_time(worker)}"


def start_time(pid: int) -> str:
    """Returns the start time of a process in clock ticks after boot; an empty string after its end."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - pathlib loads slowly
        state, *fields = file.read().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    return ""


def _connect() -> socket.socket | None:
    """Connects to the worker's fork server, and starts one if there is none; None if there can be none."""
    worker, server, end = os.getppid(), None, time.monotonic() + START_TIMEOUT_S
    if not (sys.platform.startswith("linux") and start_time(worker)):  # the first process of a container has no parent
        return None
    while time.monotonic() < end:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(socket_name(worker))
            return connection if is_same_user(connection) else None
        except OSError:
            connection.close()
        if server is None:
            server = _start_fork_server(worker)
        elif server.poll() not in (None, 0):  # 0: the server of another run listens
            return None
        time.sleep(POLL_S)
    return None


def _start_fork_server(worker: int) -> "subprocess.Popen[bytes]":
    """Starts a fork server that holds none of this run's streams: the worker reads those until they are closed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(RUN_VARIABLES)}
    return subprocess.Popen(
        own_command("flows.workers.run_fork_server", str(worker)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _forward(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
