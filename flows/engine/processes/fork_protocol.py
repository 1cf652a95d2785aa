"""The protocol between a process that asks for forks and a fork server; imports only modules that load quickly.

The client connects to the server's socket and sends one request. The server answers with the process id of the fork,
and after the end of the fork with its exit code. A closed connection tells either side that the other one is gone.
"""

import json
import os
import select
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress

INT32 = struct.Struct("!i")
POLL_S = 0.1


def request_fork(
    connection: socket.socket,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    outputs: Sequence[int],
) -> None:
    """Requests a fork that does what `python *arguments` does; `receive_int` then returns its process id.

    Args:
        connection: socket that is connected to the server.
        arguments: command line after `python`.
        environment: environment of the fork.
        folder: working directory of the fork.
        outputs: file descriptors for the fork's standard output and standard error.
    """
    content = {"arguments": list(arguments), "environment": dict(environment), "folder": folder}
    request = json.dumps(content).encode()
    with suppress(OSError):  # the server is gone: `receive_int` then returns None
        socket.send_fds(connection, [INT32.pack(len(request))], list(outputs))
        connection.sendall(request)


def receive_int(connection: socket.socket) -> int | None:
    """Waits for the next number from the server, and returns it; None if the server is gone."""
    with suppress(OSError):
        data = connection.recv(INT32.size, socket.MSG_WAITALL)
        if len(data) == INT32.size:
            return int(INT32.unpack(data)[0])
    return None


def is_readable(connection: socket.socket, wait_s: float) -> bool:
    """True if the other side sends something, or closes the connection, within `wait_s` seconds."""
    poll = select.poll()  # select.select() supports only the first 1024 file descriptors
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def is_same_user(connection: socket.socket) -> bool:
    """True if the other side belongs to the same user: every user can connect to an abstract socket."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", peer)[1] == os.getuid())
