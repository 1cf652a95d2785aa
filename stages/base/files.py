"""Atomic writes of files and folders with reproducible bytes, and validated reads of JSON."""

import errno
import fcntl
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from stages.base.errors import DataError, InvalidInput, OutputError, raise_fault

if TYPE_CHECKING:
    from pydantic import BaseModel

Content = TypeVar("Content", bound="BaseModel")

# Path.exists, Path.is_file and Path.is_dir raise an error on a name that is too long; these return False.
exists, is_file, is_folder = os.path.exists, os.path.isfile, os.path.isdir
TEMPORARY = re.compile(r"\.(.+)-\d+\.tmp(\.[^.]*)?")  # a name that `replacing` gives: stem, process, suffix
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip entry; all entries have it, for reproducible bytes


def project_folder() -> Path:
    """Returns the folder of the DVC project around the current folder, else the current folder; absolute."""
    here = Path.cwd()
    return next((parent for parent in (here, *here.parents) if is_folder(parent / ".dvc")), here)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moves it to `path` if the block succeeds, and removes it otherwise.

    The file is locked for the time of the block: the next call for `path`, in any process, removes the files of killed
    processes, which the system has unlocked.

    Raises:
        OutputError: the disk is full or read-only, or the parent is not a folder.
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, path.name)
        with _locked_file(temporary):
            try:
                yield temporary
                temporary.replace(path)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(path, error) from error


def abandoned_files(folder: Path, name: str) -> list[Path]:
    """Returns the temporary files of `name` that killed processes left in `folder`: no process has locked them."""
    found = []
    for path in _temporary_files(folder, name):
        with suppress(OSError), path.open("rb") as file:  # locked, removed, or on a file system without locks
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found.append(path)
    return found


def remove_abandoned(folder: Path, name: str = "") -> None:
    """Removes the files that `abandoned_files` returns, by default those of all names; what cannot be removed stays."""
    for path in _temporary_files(folder, name):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):  # else it was moved, and there is a newer one
                path.unlink()  # with the lock: a process that has just made the file finds that it must make it again


def _temporary_files(folder: Path, name: str) -> list[Path]:
    found = [(path, TEMPORARY.fullmatch(path.name)) for path in folder.glob(".*-*.tmp*")]
    return [path for path, match in found if match and name in ("", match[1] + (match[2] or ""))]


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    """Creates the file `path` and locks it until the end of the block."""
    while True:
        with path.open("ab") as file:
            with suppress(OSError):  # a file system without locks, where no leftovers are removed
                fcntl.flock(file, fcntl.LOCK_EX)
                _unlock_if_mandatory(file, path)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return
        # Another process has removed it before it was locked.


def _unlock_if_mandatory(file: IO[bytes], path: Path) -> None:
    """Unlocks the empty `file` if it cannot be written by another name, as on a share of Windows, which locks bytes."""
    try:
        with path.open("r+b") as other:
            other.write(b"0")
            other.truncate(0)
    except OSError:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def exclusive_lock(
    path: Path, names: Path, *, remove: bool = False, waits: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Holds an exclusive lock on the file `path`, which is created; the system releases it if the process dies.

    A file system without locks gives none, and the block runs all the same.

    Args:
        path: the file.
        names: the file or folder that an error names.
        remove: remove the file at the end, as all users of this lock have to do then.
        waits: is called if another process holds the lock.

    Raises:
        OutputError: the file cannot be created.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _open_lock_file(path)
        except OSError as error:
            raise OutputError(names, error) from error
        try:
            with suppress(OSError):
                _wait_for_lock(file, waits)
            if exists(path) and os.path.samestat(os.fstat(file), path.stat()):  # else its holder has removed it
                try:
                    yield
                finally:
                    if remove:
                        with suppress(OSError):
                            path.unlink()
                return
        finally:
            os.close(file)


def _open_lock_file(path: Path) -> int:
    """Opens a file to lock it, and returns its descriptor: NFS 4 grants an exclusive lock only on a writable one."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # the file of another user, which other file systems lock too
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)


def _wait_for_lock(file: int, waits: Callable[[], object]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waits()
        fcntl.flock(file, fcntl.LOCK_EX)


def require_replaceable(folder: Path, names: Collection[str]) -> None:
    """Checks that `folder` is new or empty, or holds nothing but `names`, those of the program's own outputs.

    The same must hold for the two folders beside it whose names `replacing_folder` uses.

    Raises:
        InvalidInput: it is a file, or has other files, which would be deleted with it.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder}: is a file; name a folder")
    advice = "name a new or empty folder, or one that this program wrote"
    for place in (folder, *_temporary_folders(folder.resolve())):
        found = {path.name for path in place.iterdir()} if place.is_dir() else set()
        others = sorted(name for name in found - set(names) if not TEMPORARY.fullmatch(name))  # of a killed write
        if others:
            raise InvalidInput(f"{place}: has other files, such as {others[0]}, which would be deleted; {advice}")
        advice = "move it away, or name another folder"


def _temporary_folders(target: Path) -> tuple[Path, Path]:
    """Returns the places beside the folder `target` of its new and of its old content, during the replacement."""
    return target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields a new, empty folder that replaces `folder` if the block succeeds, and is removed otherwise.

    All that `folder` has is deleted: where a person names it, `require_replaceable` has to allow that before.

    The replacement consists of two renames; between them `folder` does not exist. If the second rename fails, the
    first is undone. The temporary names are fixed, so the next call removes the files of a killed process.

    Raises:
        OutputError: the disk is full or read-only, or `folder` is a file.
    """
    target = folder.resolve()
    new, old = _temporary_folders(target)
    try:
        _remove(new)
        new.mkdir(parents=True)
        yield new
        _swap(new, target, old)
    except OSError as error:
        raise OutputError(folder, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    _remove(old)
    if not target.exists():
        new.rename(target)
        return
    if not target.is_dir():  # do not delete a file of the user
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: it is none, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read_json(path: Path, model: type[Content], remedy: str) -> Content:
    """Reads the JSON file `path` into the pydantic `model`.

    Args:
        path: the file.
        model: the expected content.
        remedy: the end of the error message: what to do about a missing or invalid file.

    Raises:
        DataError: the file is missing or invalid.
    """
    from pydantic import ValidationError  # slow, and needed only to read

    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise_fault(error)
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {key} is not as expected ({first['msg']}); {remedy}") from error


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_ignore_files(folder: Path) -> None:
    """Lets Git and DVC ignore all in `folder`: writes the files that are missing, or that a full disk left empty.

    Raises:
        OutputError: they cannot be written.
    """
    for path in (folder / ".gitignore", folder / ".dvcignore"):
        if not path.exists() or path.stat().st_size == 0:
            write_text(path, "*\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` as indented JSON, atomically; the keys keep their order."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def canonical_zip(source: Path, target: Path, compression: int = zipfile.ZIP_STORED) -> None:
    """Copies the entries of the zip file `source` to `target`, sorted by name and without times."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.compress_type = compression
            entry.external_attr = 0o644 << 16
            new.writestr(entry, old.read(name))
