"""A server that accepts connections and never answers, as one behind a broken firewall."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def stalled_server() -> Iterator[socket.socket]:
    """Listens on a free port of this machine; the system accepts the connections, and nothing reads them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address(listener: socket.socket) -> str:
    """The address of a Git repository there."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/project.git"


def waiting_processes(listener: socket.socket) -> list[str]:
    """The names of the processes whose command line names the server, such as Git's helpers."""
    found = []
    for process in psutil.process_iter(["cmdline", "name"]):
        if address(listener) in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process.info["name"])
    return found
