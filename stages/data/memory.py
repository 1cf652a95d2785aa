"""Bounds the memory of this process while it reads a file that may unpack to more than it says."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath

from stages.base.errors import DataError

STATM = Path(
    "/proc/self/statm"
)  # of Linux; its first number is what RLIMIT_AS counts, its sixth what RLIMIT_DATA counts
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

    def outer(self, kind: int) -> int:
        """Returns a limit of this process as it is without the blocks."""
        with self._lock:
            return self._before if self._active and kind == resource.RLIMIT_DATA else resource.getrlimit(kind)[0]

    def _apply(self) -> None:
        """Sets the lowest bound, or the one that was there before the first block."""
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        bounds = [bound for bound in (*self._active, self._before, hard) if bound != resource.RLIM_INFINITY]
        with suppress(ValueError):  # macOS may refuse it, and bounds nothing then
            soft = min(bounds) if self._active and bounds else self._before
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_limits = _Limits()


def share_of_machine() -> int:
    """Returns half of the memory that this process may have in bytes, for work whose need is not known before."""
    return machine_memory() // 2


@cache  # a server asks for each image
def machine_memory(root: Path = Path("/")) -> int:
    """Returns the bytes of memory that this process may have: those of the machine, or of its container if it has less.

    Args:
        root: the folder in which `proc` and `sys` are.
    """
    bounds = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _cgroup_files(root):
        with suppress(OSError, ValueError):  # the text is `max` in a group without a limit
            bounds.append(int(file.read_text(encoding="ascii")))
    return min(bounds)


def _cgroup_files(root: Path) -> Iterator[Path]:
    """Yields the files with the limits of this process's group and of those around it, of both versions of cgroups."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # macOS
        return
    for group in groups:
        number, controllers, name = group.split(":", 2)
        if number == "0":
            mount, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inside = PurePosixPath(name.removeprefix("/"))
        for folder in (inside, *inside.parents):  # a container may see its own group as the root, by the name outside
            yield mount / folder / file


def bound(max_bytes: int) -> int:
    """Returns by how many bytes `limited_memory(max_bytes, ...)` lets this process grow: never to fill the machine."""
    return min(BASE + max_bytes, machine_memory() * 2 // 3)


def _statm() -> tuple[int, int]:
    """Returns the bytes of address space and of data that this process has; zeros on a system that does not tell."""
    try:
        fields = STATM.read_text(encoding="ascii").split()
        return int(fields[0]) * os.sysconf("SC_PAGE_SIZE"), int(fields[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, LookupError):
        return 0, 0


@contextmanager
def limited_memory(max_bytes: int, subject: str, remedy: str) -> Iterator[None]:
    """Bounds by how much the memory of this process grows in the block, to `bound(max_bytes)`.

    The lowest of several bounds counts. A system that does not tell the memory of a process has no bound.

    Args:
        max_bytes: what the work may need, without the libraries that it loads.
        subject: what the memory is for, such as `the images`.
        remedy: what to do if it does not suffice.

    Raises:
        DataError: the bound, or a limit of the shell, was reached.
    """
    (space, data), growth = _statm(), bound(max_bytes)
    limits = ((resource.RLIMIT_AS, space), (resource.RLIMIT_DATA, data))
    left = [limit - used for kind, used in limits if (limit := _limits.outer(kind)) != resource.RLIM_INFINITY]
    limit = data + growth if data else resource.RLIM_INFINITY
    _limits.add(limit)
    try:
        yield
    except MemoryError as error:
        missing = f"there is not enough memory for {subject}"
        if min(left, default=growth) < growth:
            sentence = f"{missing}: a limit leaves {min(left):,} bytes; raise it (ulimit -v, ulimit -d), then run again"
        else:
            sentence = f"{missing}, expected to need at most {growth:,} bytes; {remedy}"
        raise DataError(sentence) from error
    finally:
        _limits.remove(limit)
