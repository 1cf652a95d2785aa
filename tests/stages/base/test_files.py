"""JSON of any origin, names of files of any length, and files that are written as a whole or not at all."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.base.errors import InvalidInput
from stages.base.files import (
    exists,
    is_file,
    is_folder,
    parse_json,
    remove_abandoned,
    replacing,
    require_replaceable,
    write_text,
)
from tests.support.root import ROOT


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "9" * 5_000, "{", b"\xff", ""], ids=range(6))
def test_hostile_json(text: str | bytes) -> None:
    """A text that is no JSON, nested too deep, or has a number of too many digits is one kind of error."""
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a/" * 3_000])
def test_impossible_names(name: str) -> None:
    """A name that no file can have is that of no file."""
    assert not (exists(name) or is_file(name) or is_folder(name))


@pytest.mark.parametrize("name", ["a.txt", ".gitignore", "a[1].b.txt"])
def test_files_of_killed_processes_are_removed(tmp_path: Path, name: str) -> None:
    """The next write of a file removes what a killed one left, also if another process has its id; no other file."""
    path, others = tmp_path / name, {".a-2024.txt", ".b-1.tmp.txt", ".a-x.tmp.txt", ".a-1.tmp.txt.old"}
    for other in others:
        (tmp_path / other).touch()
    program = "import os, sys; from pathlib import Path; from stages.base.files import replacing\n"
    program += "with replacing(Path(sys.argv[1])) as path: path.write_text('half'); os.kill(os.getpid(), 9)\n"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert (killed.returncode, len(list(tmp_path.iterdir()))) == (-9, len(others) + 1)
    (tmp_path / f".{path.stem}-{os.getppid()}.tmp{path.suffix}").touch()
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert {file.name for file in tmp_path.iterdir()} == others | {name}


def test_files_that_are_being_written_stay(tmp_path: Path) -> None:
    """A file that another process has locked stays, whatever its number: it can be that of another container."""
    other = tmp_path / ".a-4194303.tmp.txt"
    with other.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(tmp_path / "a.txt", "whole")
        remove_abandoned(tmp_path)
        assert other.exists()
    with replacing(tmp_path / "b.txt") as own:
        remove_abandoned(tmp_path)
        assert own.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt"}


def test_a_file_that_is_removed_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process takes the new file for a leftover, before it is locked, it is made again."""
    lock, removed = fcntl.flock, list[Path]()

    def lock_late(file: int, kind: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    write_text(tmp_path / "a.txt", "whole")
    assert len(removed) == 1
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_lock_that_forbids_to_write_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a share of Windows, where nobody else can write a locked file, the file is written without a lock."""
    open_file = Path.open

    def open_unlocked(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "r+b":
            raise PermissionError(13, "Permission denied")
        return open_file(path, mode, **options)

    monkeypatch.setattr(Path, "open", open_unlocked)
    with replacing(tmp_path / "a.txt") as path, open_file(path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_file_that_was_moved_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that found a temporary file does not remove the next one of its name, which another process writes."""
    path = tmp_path / ".a-1.tmp.txt"
    path.touch()
    lock = fcntl.flock

    def lock_late(file: int, kind: int) -> None:
        path.replace(tmp_path / "a.txt")
        path.touch()
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    remove_abandoned(tmp_path)
    assert path.exists()


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    """A folder is replaced whole only if it is new, empty, or has nothing but the program's own outputs."""
    (tmp_path / "file").touch()
    folder = tmp_path / "out"
    require_replaceable(folder, ["own.npy"])
    folder.mkdir()
    require_replaceable(folder, ["own.npy"])
    (folder / "own.npy").touch()
    require_replaceable(folder, ["own.npy"])
    (folder / ".git").mkdir()
    with pytest.raises(InvalidInput, match=r"out: has other files, such as \.git, which would be deleted"):
        require_replaceable(folder, ["own.npy"])
    (folder / ".git").rmdir()
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new/own.npy").touch()
    (tmp_path / ".out.new/.own-17.tmp.npy").touch()
    require_replaceable(folder, ["own.npy"])  # both are of a killed process
    (tmp_path / ".out.old/thesis.tex").touch()
    with pytest.raises(InvalidInput, match=r"\.out\.old: has other files, such as thesis\.tex, .*move it away"):
        require_replaceable(folder, ["own.npy"])
    with pytest.raises(InvalidInput, match="file: is a file; name a folder"):
        require_replaceable(tmp_path / "file", [])
