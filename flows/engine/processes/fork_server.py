"""A process that has modules imported: whoever asks gets a fork of it, which need not import them.

When a file of which it has code has changed, it has the wrong code in memory: that fork starts Python anew.
"""

import ctypes
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil

from flows.engine.processes.fork_protocol import NUMBER, POLL_S, is_ours, is_readable
from flows.engine.processes.process_trees import end_found, end_trees

RECEIVE_S = 5.0  # an order is sent whole, at once
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # of <sys/prctl.h>, for which Python has no module of its own
REQUESTS = {signal.SIGTERM}  # to end
SYSTEM = ctypes.CDLL(None)


class Order(NamedTuple):
    """A fork that is asked for: what it does, where its output goes, with which environment and in which folder."""

    arguments: list[str]
    outputs: tuple[int, int]
    environment: dict[str, str]
    folder: str


class ForkServer:
    """Takes orders at `listener` as long as it `is_wanted`, and forks one process for each."""

    def __init__(self, listener: socket.socket, is_wanted: Callable[[], bool]) -> None:
        self._listener, self._is_wanted = listener, is_wanted
        self._began_ns = time.time_ns()  # what changed since may have been read before
        self._forks: dict[int, socket.socket] = {}  # by process

    def serve(self, files: Iterable[str] = ()) -> Order:
        """Fork until nobody wants it, or until code has changed and no fork is left; comes back in a fork alone.

        The fork is to do what the order says. `files` have been read beside those of the imported modules.
        """
        self._stamps = stamps([*imported_files(), *files])
        self._listener.listen(128)
        SYSTEM.prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            with selectors.DefaultSelector() as self._selector:
                self._selector.register(self._listener, selectors.EVENT_READ)
                while self._is_wanted() and (self._is_open or self._forks):
                    for key, _ in self._selector.select(POLL_S):
                        if key.fileobj is self._listener:
                            order = self._fork()
                            if order is not None:
                                return order
                        elif isinstance(key.fileobj, socket.socket):
                            self._let_go(key.fileobj)
                        else:  # a fork ended
                            self._selector.unregister(key.fileobj)
                            os.close(key.fd)
                    self._bury()
        finally:  # whatever ends this process ends its forks; a fork has none
            end_trees(list(self._forks))
        sys.exit(0)

    def _fork(self) -> Order | None:
        """Take an order and fork; the order in the fork, which has its environment, folder and output."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no descriptor is left: whoever asks waits, or goes
            return None
        order = _received(connection) if is_ours(connection) else None
        if order is None:
            connection.close()
            return None
        is_stale = self._is_stale()
        if self._is_fork_now(connection):
            connection.close()
            self._become(order)
            if is_stale:
                os.execv(sys.executable, [sys.executable, *order.arguments])
            return order
        for output in order.outputs:
            os.close(output)
        if is_stale:
            self._selector.unregister(self._listener)
            self._listener.close()
        return None

    def _is_fork_now(self, connection: socket.socket) -> bool:
        """Fork: true in the fork, which ends with this process. Who asked for it is told its number."""
        server = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)  # which the fork would take as one to this process
        try:
            pid = os.fork()
        except OSError:  # no process or memory is left: whoever asks is told by the end of the connection
            connection.close()
        else:
            if not pid:
                SYSTEM.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != server:
                    os._exit(1)
                return True
            self._keep(pid, connection)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
        return False

    def _is_stale(self) -> bool:
        """Whether a file of which code was read is another one now."""
        known = self._stamps.values()
        return stamps(self._stamps) != self._stamps or any(stamp and stamp[0] > self._began_ns for stamp in known)

    def _keep(self, pid: int, connection: socket.socket) -> None:
        """Tell who a fork is, and hear of its end and of that of who asked for it."""
        self._forks[pid] = connection
        with suppress(OSError):  # gone already: the selector tells
            connection.sendall(NUMBER.pack(pid))
        self._selector.register(connection, selectors.EVENT_READ)
        with suppress(AttributeError, OSError):  # where the system cannot tell of an end, we look now and then
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ)

    def _become(self, order: Order) -> None:
        """In a fork: let go of what belongs to the others, and take what the order names."""
        others, self._forks = self._forks, {}
        for number, action in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            signal.signal(number, action)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
        SYSTEM.prctl(PR_SET_CHILD_SUBREAPER, 1)  # what it leaves behind comes to its parent when it ends
        os.setsid()
        self._listener.close()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fd)
        for other in others.values():
            other.close()
        for here, output in enumerate(order.outputs, start=1):
            os.dup2(output, here)
            os.close(output)
        os.environ.clear()
        os.environ.update(order.environment)
        os.chdir(order.folder)

    @property
    def _is_open(self) -> bool:
        """Whether it takes orders."""
        return self._listener.fileno() >= 0

    def _let_go(self, connection: socket.socket) -> None:
        """Who asked for a fork was ended without grace: so is the fork."""
        self._selector.unregister(connection)
        end_trees([pid for pid, other in self._forks.items() if other is connection])

    def _bury(self) -> None:
        """Tell those who asked for forks that ended how they did."""
        for pid in list(self._forks):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # whoever ended it has asked already
                ended, status = pid, signal.SIGKILL
            if not ended:
                continue
            connection = self._forks.pop(pid)
            end_found(self._strays)
            with suppress(OSError):
                connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
            with suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()

    def _strays(self) -> list[int]:
        """What forks that ended have left behind: it is ours now, as the next above it."""
        return [child.pid for child in psutil.Process().children() if child.pid not in self._forks]


def imported_files() -> list[str]:
    """Files of which code was imported."""
    return [found for module in list(sys.modules.values()) if (found := getattr(module, "__file__", None))]


def stamps(names: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Time and size of each file."""
    found: dict[str, tuple[int, int] | None] = {}
    for name in names:
        try:
            told = os.stat(name)  # noqa: PTH116 - some thousand of them before each fork
            found[name] = (told.st_mtime_ns, told.st_size)
        except OSError:
            found[name] = None
    return found


def _received(connection: socket.socket) -> Order | None:
    """What the other end asks for; None where it asks for nothing, breaks off or takes too long."""
    outputs: list[int] = []
    try:
        connection.settimeout(RECEIVE_S)
        head, outputs, _, _ = socket.recv_fds(connection, NUMBER.size, 2)
        with connection.makefile("rb") as stream:
            told = json.loads(stream.read(NUMBER.unpack(head)[0]))
        stdout, stderr = outputs
        if _is_gone(connection):
            raise OSError
        arguments = [str(argument) for argument in told["arguments"]]
        return Order(arguments, (stdout, stderr), dict(told["environment"]), str(told["folder"]))
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        for output in outputs:
            os.close(output)
        return None


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other end waits no longer; it says nothing more than its order."""
    return is_readable(connection, 0) and connection.recv(1, socket.MSG_PEEK) == b""
