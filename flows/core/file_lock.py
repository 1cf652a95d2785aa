"""Locks on files among processes: one run at a time in a working tree, one visitor at a time of a shared folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RUN_LOCK = Path(".inkflow/run.lock")


@contextmanager
def only_run_here(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the working tree at `root` for this process; the system lets it go when the process ends, however."""
    path = root / RUN_LOCK
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another run is under way in this folder; waiting for its end ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock file `path` among processes: DVC takes another one's half-written run-cache entry for an entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)  # a cache is shared: who may not write it may hold it too
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
