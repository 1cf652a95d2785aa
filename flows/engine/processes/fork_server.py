"""A process that has modules imported and forks itself on request, so that the forks need not import them.

If a file of the imported code has changed, the process has outdated code in memory: the fork then starts Python anew.
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

from flows.engine.processes.fork_protocol import INT32, POLL_S, is_readable, is_same_user
from flows.engine.processes.process_trees import terminate_all, terminate_trees

RECEIVE_TIMEOUT_S = 5.0  # a client sends its request as a whole
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # of <sys/prctl.h>, for which Python has no module
BLOCKED = {signal.SIGTERM}  # while the process forks
LIBC = ctypes.CDLL(None)


class ForkRequest(NamedTuple):
    """A request for a fork: command line after `python`, standard output and error, environment, working directory."""

    arguments: list[str]
    outputs: tuple[int, int]
    environment: dict[str, str]
    folder: str


class ForkServer:
    """Accepts requests on a socket and forks one process for each."""

    def __init__(self, listener: socket.socket, is_needed: Callable[[], bool], *, outlive: bool = False) -> None:
        """Creates the server, before the modules are imported.

        Args:
            listener: the bound socket.
            is_needed: the server ends when it returns False.
            outlive: forks that exist then are waited for, not terminated.
        """
        self._listener, self._is_needed, self._outlive = listener, is_needed, outlive
        self._created_ns = time.time_ns()  # a file that changes from now on may have been read before its change
        self._forks: dict[int, socket.socket] = {}  # connection to the client, by process id

    def serve(self, files: Iterable[str] = ()) -> ForkRequest:
        """Forks on request; ends this process when it is not needed, or has outdated code and no fork left.

        Args:
            files: files of code that was imported and is no longer in `sys.modules`.

        Returns:
            In a fork only: the request, which the fork has to carry out.
        """
        self._versions = _file_versions([*_imported_files(), *files])
        self._listener.listen(128)
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            with selectors.DefaultSelector() as self._selector:
                self._selector.register(self._listener, selectors.EVENT_READ)
                while self._goes_on():
                    for key, _ in self._selector.select(POLL_S):
                        if key.fileobj is self._listener:
                            request = self._accept()
                            if request is not None:
                                return request
                        elif isinstance(key.fileobj, socket.socket):
                            self._disconnect(key.fileobj)
                        else:  # the process file descriptor of a fork that has ended
                            self._selector.unregister(key.fileobj)
                            os.close(key.fd)
                    self._reap()
        finally:  # runs in a fork too, which has no forks of its own
            terminate_trees(list(self._forks))
        sys.exit(0)

    def _goes_on(self) -> bool:
        if self._outlive and self._forks:
            return True
        return self._is_needed() and (self._listener.fileno() >= 0 or bool(self._forks))

    def _accept(self) -> ForkRequest | None:
        """Accepts a request and forks; returns the request in the fork, with its environment, folder and output set."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no file descriptor is left: the client waits, or gives up
            return None
        request = _receive(connection) if is_same_user(connection) else None
        if request is None:
            connection.close()
            return None
        is_outdated = self._is_outdated()
        if self._fork(connection):
            connection.close()
            self._set_up_fork(request)
            if is_outdated:
                os.execv(sys.executable, [sys.executable, *request.arguments])
            return request
        for output in request.outputs:
            os.close(output)
        if is_outdated:
            self._selector.unregister(self._listener)
            self._listener.close()
        return None

    def _fork(self, connection: socket.socket) -> bool:
        """Forks, and sends the process id to the client; returns True in the fork, which dies with this process."""
        server = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)  # until the fork has its own handlers
        try:
            pid = os.fork()
        except OSError:  # no process or memory is left: the closed connection tells the client
            connection.close()
        else:
            if not pid:
                LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != server:
                    os._exit(1)
                return True
            self._register(pid, connection)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        return False

    def _is_outdated(self) -> bool:
        """True if a file of the imported code has changed."""
        versions = self._versions.values()
        is_changed = _file_versions(self._versions) != self._versions
        return is_changed or any(version and version[0] > self._created_ns for version in versions)

    def _register(self, pid: int, connection: socket.socket) -> None:
        """Sends the process id of a fork to its client, and watches the client and the fork."""
        self._forks[pid] = connection
        with suppress(OSError):  # the client is gone: the selector reports it
            connection.sendall(INT32.pack(pid))
        self._selector.register(connection, selectors.EVENT_READ)
        with suppress(AttributeError, OSError):  # without pidfd_open, the end of the fork is found after POLL_S
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ)

    def _set_up_fork(self, request: ForkRequest) -> None:
        """In a fork: resets signals, closes the server's descriptors, sets output, environment and folder."""
        others, self._forks = self._forks, {}
        for number, action in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            signal.signal(number, action)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)  # when the fork ends, its orphans become children of the server
        os.setsid()
        self._listener.close()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fd)
        for other in others.values():
            other.close()
        for descriptor, output in enumerate(request.outputs, start=1):
            os.dup2(output, descriptor)
            os.close(output)
        os.environ.clear()
        os.environ.update(request.environment)
        os.chdir(request.folder)

    def _disconnect(self, connection: socket.socket) -> None:
        """Terminates the fork of a client that is gone."""
        self._selector.unregister(connection)
        terminate_trees([pid for pid, other in self._forks.items() if other is connection])

    def _reap(self) -> None:
        """Sends the exit codes of the forks that have ended, after the processes that they left are terminated."""
        for pid in list(self._forks):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # `terminate_trees` has waited for it
                ended, status = pid, signal.SIGKILL
            if not ended:
                continue
            connection = self._forks.pop(pid)
            terminate_all(self._orphans)
            with suppress(OSError):
                connection.sendall(INT32.pack(os.waitstatus_to_exitcode(status)))
            with suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()

    def _orphans(self) -> list[int]:
        """Returns the processes that ended forks left: the system has made them children of this process."""
        return [child.pid for child in psutil.Process().children() if child.pid not in self._forks]


def _imported_files() -> list[str]:
    return [file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]


def _file_versions(names: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Returns modification time and size of each file; None for a missing one."""
    versions: dict[str, tuple[int, int] | None] = {}
    for name in names:
        try:
            status = os.stat(name)  # noqa: PTH116 - some thousand calls before each fork, and pathlib is slower
            versions[name] = (status.st_mtime_ns, status.st_size)
        except OSError:
            versions[name] = None
    return versions


def _receive(connection: socket.socket) -> ForkRequest | None:
    """Receives the request of a client; None if it is invalid, incomplete or late."""
    outputs: list[int] = []
    try:
        connection.settimeout(RECEIVE_TIMEOUT_S)
        length, outputs, _, _ = socket.recv_fds(connection, INT32.size, 2)
        with connection.makefile("rb") as stream:
            content = json.loads(stream.read(INT32.unpack(length)[0]))
        stdout, stderr = outputs
        if _is_closed(connection):
            raise OSError
        arguments = [str(argument) for argument in content["arguments"]]
        return ForkRequest(arguments, (stdout, stderr), dict(content["environment"]), str(content["folder"]))
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        for output in outputs:
            os.close(output)
        return None


def _is_closed(connection: socket.socket) -> bool:
    """True if the client has closed the connection; it sends nothing after its request."""
    return is_readable(connection, 0) and connection.recv(1, socket.MSG_PEEK) == b""
