"""Removes what a worker has not used for long: a worker's disk would fill in the course of months.

All of it can be fetched or made again. The clean-up is made after an order, at most once a day, and only while no other
order is executed on this machine: each order shares a lock that the clean-up holds alone.
"""

import fcntl
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.core.errors import GitFailed
from flows.core.file_lock import try_exclusive_lock
from flows.core.git import run_git

MAX_AGE_S = 30 * 86_400.0
INTERVAL_S = 86_400.0
LOCK = "orders.lock"
CLEANED = "cleaned"  # its time is that of the last clean-up
USED = "used"  # in the folder of a stage: its time is that of the last order
SOURCE = re.compile(r"[0-9a-f]{16}")  # a folder of `work`: the digest of a repository's address
# Files of DVC's cache, by their path in it: objects of DVC 3 and 2, the run cache, damaged objects.
CACHED = re.compile(r"(files/md5/)?[0-9a-f]{2}/[^/]+|runs/[0-9a-f]{2}/[0-9a-f]{64}/[^/]+|damaged/[^/]+")


@contextmanager
def in_use(home: Path, folder: Path) -> Iterator[None]:
    """Marks the folder of a stage as used, and keeps a clean-up away until the end of the block."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+") as lock:  # readable too: NFS 4 refuses a shared lock otherwise
        fcntl.flock(lock, fcntl.LOCK_SH)
        folder.mkdir(parents=True, exist_ok=True)  # with the lock: a clean-up removes a folder without its mark
        (folder / USED).touch()
        yield


def remove_old_files(home: Path) -> None:
    """Removes clones and cached objects that no order has used for MAX_AGE_S; packs the git objects that are left.

    A file that cannot be removed stays, and so does one of another name: the user may have named a folder with others.
    """
    now = time.time()
    with suppress(FileNotFoundError):
        if abs(now - (home / CLEANED).stat().st_mtime) < INTERVAL_S:  # a clock that was ahead does not stop it for ever
            return
    with try_exclusive_lock(home / LOCK, 0.0) as is_alone:
        if not is_alone:
            return
        (home / CLEANED).touch()
        oldest = now - MAX_AGE_S
        for folder in home.glob("work/*/*"):
            if not SOURCE.fullmatch(folder.parent.name):
                continue
            with suppress(OSError):
                used = folder / USED
                if (used if used.exists() else folder).stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
        cache = home / "cache"
        for path in cache.rglob("*"):
            if not CACHED.fullmatch(path.relative_to(cache).as_posix()):
                continue
            with suppress(OSError):
                status = path.lstat()
                if path.is_file() and status.st_mtime < oldest and status.st_nlink == 1:  # else a clone has it too
                    path.unlink()
        for objects in home.glob("sources/*.git"):
            with suppress(GitFailed):  # clones share the objects: none may go, whatever the branches say
                run_git(["--git-dir=.", "gc", "--quiet", "--prune=never"], objects)
