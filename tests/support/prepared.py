"""Folders that are made once in each test process, and copied for each test."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

Make = Callable[[Path], object]


def copy_prepared(make: Make, folder: Path) -> Path:
    """Copies what `make` writes into an empty folder; returns `folder`, which may exist.

    Args:
        make: Called once in each process, in the new folder as the current one; it must not depend on its place.
        folder: Where the copy is made.
    """
    return shutil.copytree(_prepared(make), folder, symlinks=True, dirs_exist_ok=True)


@functools.cache
def _prepared(make: Make) -> Path:
    base = Path(tempfile.mkdtemp(prefix="inkflow-prepared-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    folder = base / "toy"
    folder.mkdir()
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKFLOW_PROJECT", str(folder))  # a command sets it: it would stay for the tests that follow
        make(folder)
    return folder
