"""Locks between processes, on files: the runs of a working tree, one process at a time in a shared folder."""

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from flows.core.notices import note_once
from flows.core.project import STATE, make_state_folder

RUN_LOCK = STATE / "run.lock"
QUEUE_LOCK = STATE / "run.queue"  # held while a process waits for the run lock: later ones wait behind it
RETRY_S = 0.01
RUN_RETRY_S = 0.1  # of the run lock, which a run may hold for hours
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
WAITING = "Another run is under way in this folder; waiting for it to end ..."


@contextmanager
def run_lock(
    root: Path, log: Callable[[str], None], *, shared: bool = False, stop: threading.Event | None = None
) -> Iterator[bool]:
    """Holds the run lock of the working tree at `root`, and calls `log` with a message if it has to wait for it.

    The system releases the lock if the process dies. A signal, or `stop`, ends the wait within RUN_RETRY_S.

    Args:
        root: folder of the working tree.
        log: receives the message.
        shared: other processes may hold the lock too if they share it; False to be alone.
        stop: ends the wait; for a thread that waits, which no signal reaches.

    Yields:
        True; False without the lock if `stop` ended the wait.
    """
    make_state_folder(root)
    stop = stop or threading.Event()
    with ExitStack() as held:
        lock, queue = (held.enter_context((root / path).open("a+")) for path in (RUN_LOCK, QUEUE_LOCK))
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        is_held = _try_lock(queue, fcntl.LOCK_EX) and _try_lock(lock, kind)
        if not is_held:
            log(WAITING)
            is_held = _wait_for_lock(queue, fcntl.LOCK_EX, stop) and _wait_for_lock(lock, kind, stop)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield is_held


@contextmanager
def exclusive_lock(path: Path, *, stop: threading.Event | None = None) -> Iterator[bool]:
    """Holds an exclusive lock on the file `path`, which is created if it is missing.

    Guards caches: DVC would read a run-cache entry that another process has only half written.

    Args:
        path: the file.
        stop: ends the wait.

    Yields:
        True; False without the lock if `stop` ended the wait.
    """
    with _lock_file(path) as file:
        if file is not None and stop is not None:
            yield _wait_for_lock(file, fcntl.LOCK_EX, stop)
            return
        if file is not None:
            _lock(file, fcntl.LOCK_EX)
        yield True


@contextmanager
def try_exclusive_lock(path: Path, timeout_s: float) -> Iterator[bool]:
    """Holds the lock of `exclusive_lock` and yields True; False if others hold it for longer than `timeout_s`."""
    end = time.monotonic() + timeout_s
    with _lock_file(path) as file:
        while not (is_held := file is None or _try_lock(file, fcntl.LOCK_EX)) and time.monotonic() < end:
            time.sleep(RETRY_S)
        yield is_held


@contextmanager
def emptied_folder(folder: Path, lock: Path) -> Iterator[None]:
    """Creates `folder` and removes it at the end, alone behind the file `lock`; what a killed process left there goes.

    Raises:
        OSError: the folder cannot be created.
    """
    with ExitStack() as locks:
        if not locks.enter_context(try_exclusive_lock(lock, timeout_s=1.0)):
            note_once(f"waiting for another process that fetches files into {folder.parent}")
            locks.enter_context(exclusive_lock(lock))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock_file(path: Path) -> Iterator[int | None]:
    """Yields the opened file; None in a folder that this process cannot write to, where it needs no lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    try:
        file = open_lock_file(path, os.O_CREAT)
    except OSError as error:
        if not is_new or error.errno not in NOT_WRITABLE:
            raise
        yield None
        return
    try:
        if is_new:  # whoever can use the folder can use the file, whatever the umask
            os.fchmod(file, path.parent.stat().st_mode & 0o666)
        yield file
    finally:
        os.close(file)


def open_lock_file(path: Path, flags: int = 0) -> int:
    """Opens a file to lock it, for reading and writing, and returns its descriptor.

    NFS 4 grants an exclusive lock only on a descriptor that is writable, and a shared one only on one that is readable.
    A file of another user, or on a read-only disk, is opened for reading: other file systems lock that too.

    Args:
        path: the file.
        flags: further flags of `os.open`.
    """
    try:
        return os.open(path, os.O_RDWR | flags, 0o666)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
    return os.open(path, os.O_RDONLY | flags, 0o666)


def is_run_locked(root: Path) -> bool:
    """Returns True if another process holds the run lock of the working tree at `root`.

    It takes no lock, so it disturbs no run.
    """
    try:
        with (root / RUN_LOCK).open("rb") as file:
            names = _names_of(file)
        locks = Path("/proc/locks").read_text(encoding="utf-8")
    except (OSError, ValueError):  # no run yet, or a system without this list
        return False
    # `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`: process, and device and number of the file
    found = [line.split()[-4:-2] for line in locks.splitlines() if "FLOCK" in line]
    return any(file in names and process != str(os.getpid()) for process, file in found)


def _names_of(file: IO[bytes]) -> set[str]:
    """Returns the names that an open file can have in /proc/locks: `MAJOR:MINOR:INODE`.

    The device there is that of the file system, which on Btrfs and overlays is another one than that of `stat`.
    """
    status, number = os.fstat(file.fileno()), file.fileno()
    devices = {(os.major(status.st_dev), os.minor(status.st_dev))}
    facts = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{number}").read_text("utf-8").splitlines())
    for mount in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        identifier, _, device, *_ = mount.split()
        if identifier == facts["mnt_id"].strip():
            major, _, minor = device.partition(":")
            devices.add((int(major), int(minor)))
    return {f"{major:02x}:{minor:02x}:{status.st_ino}" for major, minor in devices}


def _lock(file: IO[str] | int, kind: int) -> None:
    """Locks an open file; not one on NFS 4 that this process can only read, as in a folder that it cannot write to."""
    try:
        fcntl.flock(file, kind)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


def _wait_for_lock(file: IO[str] | int, kind: int, stop: threading.Event) -> bool:
    """Locks an open file as soon as it is free; returns False without the lock if `stop` is set before."""
    while not (is_held := _try_lock(file, kind)) and not stop.wait(RUN_RETRY_S):
        pass
    return is_held


def _try_lock(file: IO[str] | int, kind: int) -> bool:
    try:
        _lock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
