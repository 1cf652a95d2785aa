"""The process whose forks are a worker's runs: it has Prefect, DVC and the engine imported, and no threads.

Started by the first run of a worker (`flows.pool_job`); ends with that worker, and its runs with it. When a file that
it imported has changed, it has the wrong code in memory: that run starts the ordinary way, and the next one finds
nobody and leaves a new process of this kind behind.
"""

import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, NoReturn

from flows.pool_job import LENGTH, ORDINARY, is_ours, name_of, start_of
from flows.processes import end_trees

POLL_S = 0.1
RECEIVE_S = 5.0  # an order is sent whole, at once


class Order(NamedTuple):
    """A run to fork: where its output goes, with which environment and in which folder."""

    outputs: tuple[int, int]
    environment: dict[str, str]
    folder: str


class Prefork:
    """Takes orders for runs and forks one process for each."""

    def __init__(self, worker: int) -> None:
        self._worker, self._began = worker, start_of(worker)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(name_of(worker))
        except OSError:  # another run's came first
            sys.exit(0)
        self._runs: dict[int, socket.socket] = {}  # by process

    def serve(self) -> None:
        """Fork until the worker is gone, or until code has changed and no run is left; comes back in a fork.

        The fork is to do its run.
        """
        self._files = imported_files()
        self._listener.listen(128)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                while start_of(self._worker) == self._began and (self._is_open or self._runs):
                    for key, _ in selector.select(POLL_S):
                        if key.fileobj is not self._listener:
                            self._let_go(selector, key.fileobj)
                        elif self._fork(selector):
                            return
                    self._bury(selector)
        finally:  # whatever ends this process ends its runs; a fork has none
            end_trees(list(self._runs))
        sys.exit(0)

    def _fork(self, selector: selectors.BaseSelector) -> bool:
        """Take an order and fork; true in the fork, which has the order's environment, folder and output."""
        connection, _ = self._listener.accept()
        order = _received(connection) if is_ours(connection) else None
        if order is None:
            connection.close()
            return False
        is_stale = imported_files(self._files) != self._files
        pid = os.fork()
        if pid:
            if is_stale:
                selector.unregister(self._listener)
                self._listener.close()
            for output in order.outputs:
                os.close(output)
            self._runs[pid] = connection
            with suppress(OSError):  # gone already: the selector tells
                connection.sendall(LENGTH.pack(pid))
            selector.register(connection, selectors.EVENT_READ)
            return False
        self._become(order)
        if is_stale:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execv(sys.executable, ORDINARY)
        return True

    def _become(self, order: Order) -> None:
        """In a fork: let go of what belongs to the others, and take what the order names."""
        other_runs, self._runs = self._runs, {}
        os.setsid()
        self._listener.close()
        for other_run in other_runs.values():
            other_run.close()
        for here, other in enumerate(order.outputs, start=1):
            os.dup2(other, here)
            os.close(other)
        os.environ.clear()
        os.environ.update(order.environment)
        os.chdir(order.folder)

    @property
    def _is_open(self) -> bool:
        """Whether it takes orders."""
        return self._listener.fileno() >= 0

    def _let_go(self, selector: selectors.BaseSelector, connection: object) -> None:
        """The command of a run was ended without grace: so is its fork."""
        assert isinstance(connection, socket.socket)
        selector.unregister(connection)
        end_trees([pid for pid, other in self._runs.items() if other is connection])

    def _bury(self, selector: selectors.BaseSelector) -> None:
        """Tell the commands of forks that ended how they did."""
        for pid in list(self._runs):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # whoever ended it has asked already
                ended, status = pid, signal.SIGKILL
            if not ended:
                continue
            connection = self._runs.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            with suppress(OSError):
                connection.sendall(LENGTH.pack(code if code >= 0 else 128 - code))
            with suppress(KeyError):
                selector.unregister(connection)
            connection.close()


def imported_files(known: Iterable[str] = ()) -> dict[str, tuple[int, int] | None]:
    """Time and size of each file of which code was imported; of those that are `known`, where some are."""
    names = known or [found for module in list(sys.modules.values()) if (found := getattr(module, "__file__", None))]
    stamps: dict[str, tuple[int, int] | None] = {}
    for name in names:
        try:
            told = os.stat(name)  # noqa: PTH116 - some thousand of them before each run
            stamps[name] = (told.st_mtime_ns, told.st_size)
        except OSError:
            stamps[name] = None
    return stamps


def _received(connection: socket.socket) -> Order | None:
    """What the other end asks for; None where it asks for nothing, breaks off or takes too long."""
    outputs: list[int] = []
    try:
        connection.settimeout(RECEIVE_S)
        head, outputs, _, _ = socket.recv_fds(connection, LENGTH.size, 2)
        with connection.makefile("rb") as stream:
            told = json.loads(stream.read(LENGTH.unpack(head)[0]))
        stdout, stderr = outputs
        return Order((stdout, stderr), dict(told["environment"]), str(told["folder"]))
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        for output in outputs:
            os.close(output)
        return None


def main() -> NoReturn:
    """Serve the worker whose process number is given; in each fork, run Prefect's engine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prefork = Prefork(int(sys.argv[1]))
    import prefect.engine
    import prefect.flow_engine  # late: a second process of this kind must end at once

    import flows.nightly
    import flows.remote_stage  # noqa: F401 - what the forks need

    prefork.serve()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prefect.context.refresh_global_settings_context()  # of the run's environment
    sys.argv = ["prefect.engine"]
    del sys.modules["prefect.engine"]  # it is run anew
    runpy.run_module("prefect.engine", run_name="__main__")
    sys.exit(0)


if __name__ == "__main__":
    main()
