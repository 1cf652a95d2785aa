"""Standard error that cannot be written."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest


def full_disk() -> int:
    """Returns the descriptor of a file on a full disk."""
    return os.open("/dev/full", os.O_WRONLY)


def closed_pipe() -> int:
    """Returns the descriptor of a pipe that its reader has closed."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    return write_end


@contextmanager
def unwritable_stderr(make: Callable[[], int]) -> Iterator[None]:
    """Lets standard error write to the descriptor of `make`; not for a fixture: pytest takes it back before a test."""
    stream = os.fdopen(make(), "w")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            yield
    finally:
        with suppress(OSError):  # of the lines that are still in its buffer
            stream.close()


UNWRITABLE = pytest.mark.parametrize("make", [full_disk, closed_pipe])
