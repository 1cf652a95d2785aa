"""What a worker removes from its folder, and what it keeps."""

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from flows.workers.old_files import CLEANED, MAX_AGE_S, USED, in_use, remove_old_files

SOURCE = "0123456789abcdef"  # a folder of `work`: the digest of a repository's address


def make(path: Path, age_s: float) -> Path:
    """Writes a file that was last changed so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A worker's folder with old and new files."""
    for age, name in ((0.0, "new"), (MAX_AGE_S + 60, "old")):
        make(tmp_path / "work" / SOURCE / name / USED, age)
        make(tmp_path / "work" / SOURCE / name / "clone/file", 0)
        make(tmp_path / "cache/files/md5/aa" / name, age)
    os.link(make(tmp_path / "cache/files/md5/bb/linked", MAX_AGE_S + 60), tmp_path / "work" / SOURCE / "new/clone/data")
    return tmp_path


def test_old_files_are_removed(home: Path) -> None:
    """Clones and objects that were not used for long go; an object that a clone shares stays."""
    remove_old_files(home)
    assert [path.name for path in (home / "work" / SOURCE).iterdir()] == ["new"]
    assert sorted(path.name for path in home.glob("cache/files/md5/*/*")) == ["linked", "new"]
    make(home / "cache/files/md5/aa/old", MAX_AGE_S + 60)
    remove_old_files(home)  # not twice a day
    assert (home / "cache/files/md5/aa/old").exists()
    make(home / CLEANED, -10 * MAX_AGE_S)  # the clock was ahead
    remove_old_files(home)
    assert not (home / "cache/files/md5/aa/old").exists()


def test_files_of_the_user_stay(home: Path) -> None:
    """In a folder that the user names, what has another place than the worker's own files stays, however old it is."""
    objects = [f"cache/{name}" for name in ("files/md5/ab/1", "cd/2.dir", f"runs/ef/{'0' * 64}/3", "damaged/4")]
    others = [
        "work/thesis/data/model.keras", "work/0123/data/notes.txt", "cache/pip/wheel.whl", "cache/photo.jpg",
        "cache/files/letters/a.txt", "cache/runs/2025/may/log.txt", "cache/files/md5/note/1", "notes.txt",
    ]  # fmt: skip
    for name in (*objects, *others):
        make(home / name, MAX_AGE_S + 60)
    for folder in home.glob("work/*/*"):
        os.utime(folder, (time.time() - MAX_AGE_S - 60,) * 2)
    remove_old_files(home)
    assert [name for name in others if not (home / name).exists()] == []
    assert [name for name in objects if (home / name).exists()] == []


def test_nothing_is_removed_during_an_order(home: Path) -> None:
    """An order keeps the clean-up away until a later one has ended; the folder of its stage counts as used."""
    with in_use(home, home / "work" / SOURCE / "old"):
        remove_old_files(home)
        assert len(list(home.glob("cache/files/md5/*/*"))) == 3
    remove_old_files(home)
    assert sorted(path.name for path in (home / "work" / SOURCE).iterdir()) == ["new", "old"]
    assert len(list(home.glob("cache/files/md5/*/*"))) == 2


def test_a_clean_up_before_an_order_takes_nothing_of_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of an order is there even if a clean-up removed it right before the order had the lock."""
    folder, real = home / "work" / SOURCE / "old", fcntl.flock

    def clean_up_first(file: Any, kind: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        real(file, kind)

    monkeypatch.setattr(fcntl, "flock", clean_up_first)
    with in_use(home, folder):
        assert (folder / USED).exists()
