"""Locks on NFS 4, which grants an exclusive lock on a writable descriptor alone, a shared one on a readable one."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main
from flows.core.file_lock import exclusive_lock, run_lock, try_exclusive_lock
from flows.engine.output_backup import backup_outputs, restore_leftover
from flows.engine.shared_slots import SHARING, SharedSlots
from flows.experiments.search.space import parse_space
from flows.experiments.search.study import Definition, Study
from flows.prefect_server.credentials import HOME, LOCK, is_running
from flows.prefect_server.old_runs import _held
from flows.workers.old_files import in_use, remove_old_files
from stages.base.files import replacing
from stages.watch.record import locked
from tests.conftest import Toy


class NfsLocks:
    """The files that were locked as NFS 4 locks them, and those that it refused to lock."""

    def __init__(self) -> None:
        self.granted: list[Path] = []
        self.refused: list[Path] = []
        self._flock = fcntl.flock

    def flock(self, file: Any, kind: int) -> None:
        """Locks a file if the mode of its descriptor is one that NFS 4 wants."""
        number = file if isinstance(file, int) else file.fileno()
        mode, path = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE, Path(f"/proc/self/fd/{number}").readlink()
        if (kind & fcntl.LOCK_EX and mode == os.O_RDONLY) or (kind & fcntl.LOCK_SH and mode == os.O_WRONLY):
            self.refused.append(path)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._flock(file, kind)
        self.granted.append(path)


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> NfsLocks:
    """A file system that locks as NFS 4 does."""
    locks = NfsLocks()
    monkeypatch.setattr(fcntl, "flock", locks.flock)
    return locks


def lock_run(folder: Path) -> None:
    """Takes the lock of a run, alone and with others."""
    for shared in (False, True):
        with run_lock(folder, print, shared=shared):
            pass


def lock_cache(folder: Path) -> None:
    """Takes the lock of a cache, new and existing, with and without a limit of time."""
    with exclusive_lock(folder / "cache.lock"):
        pass
    with try_exclusive_lock(folder / "cache.lock", 0.0) as is_held:
        assert is_held


def search(folder: Path) -> None:
    """Opens a study beside one that lives, whose file stays, and one that was killed, whose file goes."""
    definition = Definition(parse_space(["k=a|b"]), "m.json:loss", "minimize", ["fit"], "base")
    living = Study(folder, definition, "random", None, 0)
    (folder / "owners" / ("0" * 32)).touch()
    other = Study(folder, definition, "random", None, 0)
    assert len(list((folder / "owners").iterdir())) == 2
    other.close()
    living.close()


def work(folder: Path) -> None:
    """Marks the folder of an order as used, then cleans up."""
    with in_use(folder, folder / "work/0123456789abcdef/stage"):
        pass
    remove_old_files(folder)


def hold_database(folder: Path) -> None:
    """Holds the database of `inkflow up`, which does not run."""
    (folder / HOME).mkdir(parents=True)
    with _held(folder, folder / HOME, None) as is_held:
        assert is_held
    assert (folder / LOCK).exists() and not is_running(folder)


def restore(folder: Path) -> None:
    """Restores the output of a run that was killed."""
    (folder / "made").write_text("earlier")
    backup_outputs(folder, "one", ["made"])
    assert restore_leftover(folder, "one") and (folder / "made").read_text() == "earlier"


def watch(folder: Path) -> None:
    """Takes the lock of a watched model's record."""
    with locked(folder / "watch", "0" * 64):
        pass


def take_slot(folder: Path) -> None:
    """Takes the lock on the work of a stage."""
    with SharedSlots(folder, 1, ()).exclusive("key"):
        pass


def write_output(folder: Path) -> None:
    """Writes a file that is locked until it has its name."""
    with replacing(folder / "output") as temporary:
        temporary.touch()


@pytest.mark.parametrize(
    "take", [lock_run, lock_cache, search, work, hold_database, restore, watch, take_slot, write_output]
)
def test_locks_are_granted(take: Callable[[Path], None], nfs: NfsLocks, tmp_path: Path) -> None:
    """Each lock is asked for on a descriptor on which NFS 4 grants it."""
    take(tmp_path)
    assert nfs.granted and not nfs.refused


def test_old_lock_files_are_removed(nfs: NfsLocks, toy: Toy) -> None:
    """`inkflow prune` removes the lock file of an ended run."""
    path = toy.folder / SHARING / "slot-0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (0, 0))
    assert main(["prune"]) == 0
    assert not path.exists() and not nfs.refused


def test_a_lock_file_that_can_only_be_read(nfs: NfsLocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock file of another user, which NFS 4 does not lock for this one, is no error: it is as one in a folder that
    this user cannot write to.
    """
    path, real = tmp_path / "cache.lock", os.open
    path.touch()

    def open_as_reader(name: Any, flags: int, *more: Any, **options: Any) -> int:
        if name == path and flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return real(name, flags, *more, **options)

    monkeypatch.setattr(os, "open", open_as_reader)
    with exclusive_lock(path), try_exclusive_lock(path, 0.0) as is_held:
        assert is_held
    assert nfs.refused == [path] * 2
