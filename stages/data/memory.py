"""Bounds the memory of this process while it reads a file that may unpack to more than it says."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.base.errors import DataError

STATM = Path("/proc/self/statm")  # of Linux; its sixth number is what RLIMIT_DATA counts
BASE = 4_000_000_000  # bytes of address space for the libraries


class _Limits:
    """The bounds of the blocks that run at this moment, in threads too: the limit is one of the whole process."""

    def __init__(self) -> None:
        self._lock, self._active = threading.Lock(), list[int]()
        self._before = resource.RLIM_INFINITY

    def add(self, limit: int) -> None:
        with self._lock:
            if not self._active:
                self._before = resource.getrlimit(resource.RLIMIT_DATA)[0]
            self._active.append(limit)
            self._apply()

    def remove(self, limit: int) -> None:
        with self._lock:
            self._active.remove(limit)
            self._apply()

    def _apply(self) -> None:
        """Sets the lowest bound, or the one that was there before the first block."""
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        bounds = [bound for bound in (*self._active, self._before, hard) if bound != resource.RLIM_INFINITY]
        with suppress(ValueError):  # macOS may refuse it, and bounds nothing then
            soft = min(bounds) if self._active and bounds else self._before
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_limits = _Limits()


def share_of_machine() -> int:
    """Returns half of the memory of this machine in bytes, for work whose need is not known before."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _used() -> int:
    """Returns the bytes of data that this process has; 0 on a system that does not tell."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[5])
    except (OSError, ValueError, LookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def limited_memory(max_bytes: int, subject: str) -> Iterator[None]:
    """Bounds by how much the memory of this process grows in the block, to `max_bytes` and BASE.

    The lowest of several bounds counts.

    Raises:
        DataError: the limit was reached; the message begins with `subject`.
    """
    limit = _used() + BASE + max_bytes
    _limits.add(limit)
    try:
        yield
    except MemoryError as error:
        raise DataError(
            f"{subject} need more than {BASE + max_bytes:,} bytes of memory; use fewer of them, or parts"
        ) from error
    finally:
        _limits.remove(limit)
