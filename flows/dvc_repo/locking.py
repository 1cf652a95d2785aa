"""DVC's repository lock and its list of files in use, both shared with `dvc` in other terminals.

The lock is held for one action, and never while the command of a stage runs. When another process holds the lock, or
uses a file that the action needs, the lock is released, and the action is tried again from its start.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dvc.lock import LockError
from dvc.repo import Repo

from flows.core.errors import DvcFailed, Interrupted
from flows.core.file_lock import try_exclusive_lock
from flows.core.redaction import say
from flows.dvc_repo.dvc_errors import converted_errors, describe_error
from flows.dvc_repo.inotify import FileOpenWatch

POLL_S = 0.5  # DVC's own interval
MAX_DELAY_S = 0.5  # of another process before the lock is free for PAUSE_S; it gives up after three seconds
PAUSE_S = 0.6  # longer than POLL_S, so that a process that polls finds the lock free
SHARED_WAIT_S = 0.25  # for the lock of a shared cache, with DVC's lock of this project held
CLEANUP_S = 10.0  # after an interrupt, for actions that clean up
T = TypeVar("T")


class RepositoryBusy(DvcFailed):
    """Another process holds DVC's lock, or uses a file that an action needs."""


def cache_lock_path(cache: Path) -> Path:
    """Return the lock file of all users of the DVC cache in the folder `cache`; for `exclusive_lock`."""
    return cache / "inkflow.lock"


class RepoLock:
    """The lock of one opened repository, used by many threads, of which one at a time holds it."""

    def __init__(self, repo: Repo) -> None:
        self.log: Callable[[str], None] = print_to_stderr
        self.stop_event = threading.Event()  # set when the run is interrupted
        self._repo = repo
        self._shared_lock = cache_lock_path(Path(repo.stage_cache.cache_dir).parent)
        self._thread_lock = threading.RLock()
        self._deadline = math.inf  # of actions that clean up after an interrupt
        self._watch: FileOpenWatch | None = None  # of DVC's lock file, which exists after the first acquisition
        self._requested_at = math.inf  # time of another process's first attempt since the last pause
        self._acquire_after = 0.0

    def run(self, name: str, action: Callable[[], T], *, cleanup: bool = False) -> T:
        """Run `action` under DVC's lock, again when another process uses a file that it needs; return its result.

        Args:
            name: the stage or file that the action is about, for messages.
            action: may be called several times.
            cleanup: the action cleans up: after an interrupt, it may wait for `CLEANUP_S` more.

        Raises:
            Interrupted: the run was interrupted while another process was waited for.
        """
        wait = _Wait(self, name, cleanup)
        while True:
            try:
                with self.locked(wait):
                    return action()
            except RepositoryBusy as error:
                wait.check(str(error))
            time.sleep(POLL_S)

    @contextmanager
    def locked(self, wait: "_Wait | None" = None) -> Iterator[None]:
        """Hold DVC's lock and that of the cache; wait for another process that holds one of them, without the other."""
        with self._thread_lock:
            if self._repo.lock.is_locked:
                yield
                return
            wait = wait or _Wait(self, "the run", cleanup=False)
            with converted_errors(self._repo.root_dir):
                while True:
                    try:
                        self._acquire(wait)
                        with try_exclusive_lock(self._shared_lock, SHARED_WAIT_S) as is_held:
                            if is_held:
                                yield
                                return
                    except LockError as error:
                        raise RepositoryBusy(describe_error(error)) from error
                    finally:
                        if self._repo.lock.is_locked:
                            self._release()
                    wait.check("another project works in the shared cache")
                    time.sleep(POLL_S)

    def is_stopped(self, *, cleanup: bool) -> bool:
        """True when an action may wait no longer; the first call after an interrupt starts `CLEANUP_S`."""
        if not self.stop_event.is_set():
            return False
        self._deadline = min(self._deadline, time.monotonic() + CLEANUP_S)
        return not cleanup or time.monotonic() >= self._deadline

    def close(self) -> None:
        """Stop watching DVC's lock file."""
        if self._watch is not None:
            self._watch.close()

    def _acquire(self, wait: "_Wait") -> None:
        time.sleep(max(0.0, self._acquire_after - time.monotonic()))
        while True:
            try:
                self._repo.lock.lock()
                break
            except LockError:  # after the three seconds for which DVC itself waits
                wait.check("another process holds DVC's lock")
            except OSError as error:  # its number could not be written into the file: a full disk, a limit
                error.filename = error.filename or str(self._repo.lock.files[0])
                raise error.with_traceback(None)  # noqa: B904 - a frame of DVC has the file open, and so the lock
        if self._watch is None and not self._repo.config["core"].get("hardlink_lock"):  # such a lock's file is removed
            self._watch = FileOpenWatch(Path(self._repo.lock.files[0]))
        if self._watch is not None:
            self._watch.was_opened()  # clears the event of our own acquisition

    def _release(self) -> None:
        """Release the lock, for `PAUSE_S` if another process has tried to acquire it: it polls, and needs the time."""
        now = time.monotonic()
        if self._watch is not None and self._watch.was_opened():
            self._requested_at = min(self._requested_at, now)
        self._repo.lock.unlock()
        if now > self._requested_at + MAX_DELAY_S:
            self._requested_at, self._acquire_after = math.inf, now + PAUSE_S


class _Wait:
    """An action that waits for another process. The reason is logged once."""

    def __init__(self, lock: RepoLock, name: str, cleanup: bool) -> None:
        self._lock = lock
        self._name = name
        self._cleanup = cleanup
        self._is_logged = False

    def check(self, reason: str) -> None:
        """Return if the action may wait on; raise Interrupted if not."""
        if self._lock.is_stopped(cleanup=self._cleanup):
            raise Interrupted(self._name)
        if not self._is_logged:
            self._is_logged = True
            self._lock.log(f"{self._name} waits: {reason}")


def print_to_stderr(text: str) -> None:
    """Print a line for the user."""
    say(text, error=True)  # standard output may be JSON
