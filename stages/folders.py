"""Replacing a folder as a whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.errors import OutputError


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
