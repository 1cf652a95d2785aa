"""Locks between processes, on files: the runs of a working tree, one process at a time in a shared folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from flows.core.project import STATE, make_state_folder

RUN_LOCK = STATE / "run.lock"
QUEUE_LOCK = STATE / "run.queue"  # held while a process waits for the run lock: later ones wait behind it
WAITING = "Another run is under way in this folder; waiting for it to end ..."


@contextmanager
def run_lock(root: Path, log: Callable[[str], None], *, shared: bool = False) -> Iterator[None]:
    """Holds the run lock of the working tree at `root`, and calls `log` with a message if it has to wait for it.

    The system releases the lock if the process dies.

    Args:
        root: folder of the working tree.
        log: receives the message.
        shared: other processes may hold the lock too if they share it; False to be alone.
    """
    make_state_folder(root)
    with ExitStack() as held:
        lock, queue = (held.enter_context((root / path).open("a")) for path in (RUN_LOCK, QUEUE_LOCK))
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if not (_try_lock(queue, fcntl.LOCK_EX) and _try_lock(lock, kind)):
            log(WAITING)
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(lock, kind)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file `path`, which is created if it is missing.

    Guards caches: DVC would read a run-cache entry that another process has only half written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)  # read-only: other users of a shared cache lock this file too
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def is_run_locked(root: Path) -> bool:
    """Returns True if a process holds the run lock of the working tree at `root`; takes no lock, so disturbs no run."""
    try:
        inode = (root / RUN_LOCK).stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="utf-8")
    except OSError:  # no run yet, or a system without this list
        return False
    return any(f":{inode} " in line and "FLOCK" in line for line in locks.splitlines())


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
