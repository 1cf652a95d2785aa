"""Locks between processes, on files: one run at a time in a working tree, one process at a time in a shared folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.core.project import STATE, make_state_folder

RUN_LOCK = STATE / "run.lock"


@contextmanager
def run_lock(root: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Holds the run lock of the working tree at `root`, and calls `log` with a message if it has to wait for it.

    The system releases the lock if the process dies.
    """
    path = root / RUN_LOCK
    make_state_folder(root)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("Another run is under way in this folder; waiting for it to end ...")
            fcntl.flock(file, fcntl.LOCK_EX)
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
