"""A watch of a file or folder that is known to see what is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.dvc_repo.inotify import FileOpenWatch


@contextmanager
def watched(place: Path) -> Iterator[FileOpenWatch]:
    """Watches a file, or the files of a folder; skips the test where the watch sees nothing.

    Without inotify, or if no instance of it is left, "it opens no file" could not fail.
    """
    watch = FileOpenWatch(place)
    try:
        (next(iter(sorted(place.iterdir()))) if place.is_dir() else place).open("rb").close()
        if not watch.was_opened():
            pytest.skip(f"{place} cannot be watched: this system has no inotify, or no instance of it is left")
        yield watch
    finally:
        watch.close()
