"""Writes files and folders so that nothing is lost and equal content gives equal bytes; reads JSON back, checked."""

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stages.base.errors import DataError, OutputError

if TYPE_CHECKING:
    from pydantic import BaseModel

Content = TypeVar("Content", bound="BaseModel")

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip entry can carry: the same in every file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Temporary path beside `path`, moved onto it when the block ends well and removed when not.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """New, empty folder beside `folder`, put in its place when the block ends well, else removed.

    Between two renames there is an instant without `folder`; if the second fails, the first is
    undone. The temporary names are fixed: what a killed process left, the next one removes.

    Raises:
        OutputError: the place is full, read-only, or taken by a file.
    """
    target = folder.resolve()
    new, old = (target.with_name(f".{target.name}.{suffix}") for suffix in ("new", "old"))
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
    if not target.is_dir():  # somebody's file
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


def read_json(path: Path, kind: type[Content], remedy: str) -> Content:
    """What the JSON file `path`, which holds a `kind`, says; `remedy` is what to do when it does not.

    Raises:
        DataError: the file is missing or not what it should be.
    """
    from pydantic import ValidationError  # slow: who only writes files need not wait for it

    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where} is not as expected ({first['msg']}); {remedy}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented JSON, keys in the order given, all of it or nothing."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def canonical_zip(source: Path, target: Path, compression: int = zipfile.ZIP_STORED) -> None:
    """Write to `target` the entries of the zip file `source`, sorted by name and without times."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = compression
            entry.external_attr = 0o644 << 16
            new.writestr(entry, old.read(name))
