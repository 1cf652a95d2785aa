"""The command of a run in a pool: does what `python -m prefect.engine` does, sooner.

A worker starts a process for each run, and Prefect and DVC take a second of processor time to be imported. So the
first run of a worker leaves a process behind that has them (`run_fork_server`); the next runs are forks of it.
This module imports next to nothing: it hands over environment, folder and output, passes signals on, and ends as the
fork does. Where it cannot have one, the run starts the ordinary way. The process ends with its worker.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

from flows.engine.processes.fork_protocol import is_ours, next_number, order_fork

START_S = 60.0
POLL_S = 0.05
OF_A_RUN = "PREFECT__"  # variables that tell which run it is
ENGINE = "prefect.engine"  # what a worker starts where it is not told otherwise
ARGUMENTS = ["-m", ENGINE]


def main() -> None:
    """Run the flow run that the environment names, and end with its exit code."""
    connection, pid = _connection(), None
    if connection is not None:
        order_fork(connection, ARGUMENTS, os.environ, os.getcwd(), [1, 2])  # noqa: PTH109 - pathlib is slow to import
        pid = next_number(connection)
    if connection is None or pid is None:
        os.execv(sys.executable, [sys.executable, *ARGUMENTS])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: _pass_on(pid, received))
    code = next_number(connection)
    if code is None:  # it was ended
        sys.exit(1)
    sys.exit(code if code >= 0 else 128 - code)  # as a shell says it where a signal ended it


def name_of(worker: int) -> str:
    """Address of the process that a worker's runs are forks of: no file, it goes with the process."""
    return f"\0inkflow-{os.getuid()}-{worker}-{start_of(worker)}"


def start_of(pid: int) -> str:
    """When a process began, as the system counts; empty when it has ended. A number alone may have come to another."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - likewise
        state, *facts = file.read().rpartition(")")[2].split()
        return "" if state in "ZX" else facts[18]
    return ""


def _connection() -> socket.socket | None:
    """A connection to the process that has everything imported, started if need be; None where there is none."""
    worker, process, end = os.getppid(), None, time.monotonic() + START_S
    if not (sys.platform.startswith("linux") and start_of(worker)):  # nobody above it in a container without an init
        return None
    while time.monotonic() < end:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(name_of(worker))
            return connection if is_ours(connection) else None
        except OSError:
            connection.close()
        if process is None:
            command = [sys.executable, "-m", "flows.workers.run_fork_server", str(worker)]
            nothing = subprocess.DEVNULL  # the worker waits until nobody holds the output of this run any more
            environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_RUN)}
            process = subprocess.Popen(
                command, stdin=nothing, stdout=nothing, stderr=nothing, env=environment, start_new_session=True
            )
        elif process.poll() not in (None, 0):  # 0: another run's came first
            return None
        time.sleep(POLL_S)
    return None


def _pass_on(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
