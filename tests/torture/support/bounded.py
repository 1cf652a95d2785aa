"""Bounds of a download from a server in this process: memory, bytes that are read, and the time until it ends."""

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.support.http_server import Server


class Bounds(NamedTuple):
    """What a download may need.

    Attributes:
        memory: bytes that Python allocates beyond those at its begin.
        received: bytes that it reads from its connections.
        seconds: from begin to end, a bound of hanging: then the server ends all its answers.
    """

    memory: int
    received: int
    seconds: float


@contextmanager
def bounded(server: Server, bounds: Bounds) -> Iterator[list[int]]:
    """Checks what the download of the block needs; yields a list that gets the sizes of its reads.

    Raises:
        AssertionError: it needs more than its bounds.
    """
    hung = threading.Event()

    def release() -> None:
        hung.set()
        server.released.set()

    timer = threading.Timer(bounds.seconds, release)
    with _measured_memory() as memory, _counted_reads() as reads:
        timer.start()
        try:
            yield reads
        finally:
            timer.cancel()
            timer.join()
            server.released.clear()
    assert not hung.is_set(), f"it did not end within {bounds.seconds:g} s"
    assert memory[0] <= bounds.memory, f"{memory[0]:,} bytes of memory, expected at most {bounds.memory:,}"
    assert sum(reads) <= bounds.received, f"it read {sum(reads):,} bytes, expected at most {bounds.received:,}"


@contextmanager
def _measured_memory() -> Iterator[list[int]]:
    """Yields a list that gets the most bytes that Python has allocated in the block."""
    tracemalloc.start(1)
    peak: list[int] = []
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@contextmanager
def _counted_reads() -> Iterator[list[int]]:
    """Yields a list that gets the size of each `recv` of this process; the test server reads in another way."""
    sizes: list[int] = []
    recv = socket.socket.recv

    def counted(self: socket.socket, *arguments: int) -> bytes:
        data = recv(self, *arguments)
        sizes.append(len(data))
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "recv", counted)
        yield sizes
