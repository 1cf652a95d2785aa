"""What a process of which others are forks is asked for, and by whom. Imports nothing that takes time."""

import json
import os
import select
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress

NUMBER = struct.Struct("!i")
POLL_S = 0.1


def order_fork(
    connection: socket.socket,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    outputs: Sequence[int],
) -> None:
    """Ask the other end for a fork that does what `python *arguments` does; `next_number` tells its process number.

    The fork has this environment, this folder, and the open files `outputs` as its standard output and error.
    """
    told = {"arguments": list(arguments), "environment": dict(environment), "folder": folder}
    order = json.dumps(told).encode()
    with suppress(OSError):  # gone: the next number tells
        socket.send_fds(connection, [NUMBER.pack(len(order))], list(outputs))
        connection.sendall(order)


def next_number(connection: socket.socket) -> int | None:
    """The next number that the other end tells: a fork's own, then its exit code; None when it is gone."""
    told = b""
    with suppress(OSError):
        while len(told) < NUMBER.size:
            part = connection.recv(NUMBER.size - len(told))
            if not part:
                return None
            told += part
        return int(NUMBER.unpack(told)[0])
    return None


def is_readable(connection: socket.socket, wait_s: float) -> bool:
    """Whether the other end said something, or went, within so many seconds."""
    poll = select.poll()  # select() itself knows the first 1024 descriptors alone
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def is_ours(connection: socket.socket) -> bool:
    """True when the other end belongs to the same user: names of this kind are open to all."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", peer)[1] == os.getuid())
