"""Whose turn it is: DVC's own lock, and its list of files in use, shared with `dvc` in other terminals.

The lock is held for one visit to DVC and never while a command runs. Where another process has it, or uses a file that
the visit is about, the lock is let go of, that process is waited for, and the visit is made again from its start.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import rwlock
from dvc.stage import Stage as DvcStage

from flows.core.errors import DvcFailed, Interrupted
from flows.core.file_lock import one_at_a_time
from flows.dvc_repo.dvc_facts import whole_message
from flows.dvc_repo.inotify import FileOpenWatch
from stages.base.errors import OutputError

POLL_S = 0.5  # as often as DVC itself looks
MAY_KNOCK_S = 0.5  # of the three seconds after which DVC gives up
FOR_OTHERS_S = 0.6  # so that one who looks every POLL_S comes to his turn
LAST_S = 10.0  # after the end was asked for, for what leaves the folder in order
T = TypeVar("T")


class Busy(DvcFailed):
    """Another process uses a file that this visit is about."""


class RepoLock:
    """The turns of one opened repository; calls come from many threads, of which one at a time has its turn."""

    def __init__(self, repo: Repo) -> None:
        self.say: Callable[[str], None] = _say_aside
        self.ended = threading.Event()  # somebody ended the run
        self._repo = repo
        self._shared = Path(repo.stage_cache.cache_dir).parent / "inkflow.lock"
        self._one_at_a_time = threading.RLock()
        self._last_moment = math.inf
        self._openings: FileOpenWatch | None = None  # of DVC's lock file, which is there once it was held
        self._knocked_at = math.inf  # the first time since others had time for a turn
        self._not_before = 0.0

    def take(self, name: str, visit: Callable[[], T], *, last: bool = False) -> T:
        """What `visit` gives, made for `name` under DVC's lock; made again when a file that it needs is in use.

        Args:
            name: the stage, or what else waits, as the note says it.
            visit: may be called several times.
            last: it leaves the folder in order: an end that is asked for gives it some seconds more.

        Raises:
            Interrupted: the end was asked for while others were waited for.
        """
        wait = _Wait(self, name, last)
        while True:
            try:
                with self.locked(wait):
                    return visit()
            except Busy as error:
                wait.go_on(str(error))
            time.sleep(POLL_S)

    @contextmanager
    def locked(self, wait: "_Wait | None" = None) -> Iterator[None]:
        """Hold DVC's lock; another process's turn is waited for."""
        with self._one_at_a_time:
            if self._repo.lock.is_locked:
                yield
                return
            try:
                self._acquire(wait or _Wait(self, "the run", last=False))
                with one_at_a_time(self._shared):
                    yield
            except LockError as error:
                raise Busy(whole_message(error)) from error
            except DvcException as error:
                raise DvcFailed(whole_message(error)) from error
            except OSError as error:
                raise OutputError(error.filename or self._repo.root_dir, error) from error
            finally:
                if self._repo.lock.is_locked:
                    self._release()

    def see_that_free(self, stage: DvcStage) -> None:
        """See that no `dvc` uses what `stage` writes, or writes what it reads: it may be running that very stage.

        Raises:
            LockError: one does; to be waited for by `take`.
        """
        reads, writes = ([entry.fs_path for entry in some if entry.fs_path] for some in (stage.deps, stage.outs))
        hardlink = self._repo.config["core"].get("hardlink_lock", False)
        with rwlock(self._repo.tmp_dir, self._repo.fs, " ".join(sys.argv), reads, writes, hardlink):
            return

    def is_over(self, *, last: bool) -> bool:
        """True when nobody is waited for any more; the first who asks after the end starts the last seconds."""
        if not self.ended.is_set():
            return False
        self._last_moment = min(self._last_moment, time.monotonic() + LAST_S)
        return not last or time.monotonic() >= self._last_moment

    def close(self) -> None:
        """Let go of what the turns were watched with."""
        if self._openings is not None:
            self._openings.close()

    def _acquire(self, wait: "_Wait") -> None:
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        while True:
            try:
                self._repo.lock.lock()
                break
            except LockError:  # DVC itself waits three seconds before it says so
                wait.go_on("another process holds DVC's lock")
        if self._openings is None:
            self._openings = FileOpenWatch(Path(self._repo.lock.files[0]))
        self._openings.any()  # that was us

    def _release(self) -> None:
        """Let go of the lock; for long enough, where others knocked a while ago: they look now and then only."""
        now = time.monotonic()
        if self._openings is not None and self._openings.any():
            self._knocked_at = min(self._knocked_at, now)
        self._repo.lock.unlock()
        if now > self._knocked_at + MAY_KNOCK_S:
            self._knocked_at, self._not_before = math.inf, now + FOR_OTHERS_S


class _Wait:
    """One visit that waits for others, and says so once."""

    def __init__(self, turns: RepoLock, name: str, last: bool) -> None:
        self._turns = turns
        self._name = name
        self._last = last
        self._told = False

    def go_on(self, why: str) -> None:
        """Come back to wait on; raise Interrupted when there is no time for it."""
        if self._turns.is_over(last=self._last):
            raise Interrupted(self._name)
        if not self._told:
            self._told = True
            self._turns.say(f"{self._name} waits: {why}")


def _say_aside(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # standard output may be JSON
