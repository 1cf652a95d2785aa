"""Files and folders that a process makes for itself alone: nothing of a killed one, or of a full disk, stays."""

import resource
from pathlib import Path

import pytest

from flows.core.file_lock import emptied_folder
from flows.core.project import STATE, make_state_folder


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The folder is empty at the start, and gone at the end, after an error too."""
    folder, lock = tmp_path / "place/folder", tmp_path / "lock"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/part").touch()
    with pytest.raises(LookupError), emptied_folder(folder, lock):
        assert list(folder.iterdir()) == []
        (folder / "other").touch()
        raise LookupError
    assert list((tmp_path / "place").iterdir()) == []


def test_an_empty_list_of_ignored_files_is_written_again(tmp_path: Path) -> None:
    """A full disk leaves no empty list, and one that is empty is written; one with other content is the user's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        make_state_folder(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / STATE).iterdir()) == []
    (tmp_path / STATE / ".gitignore").touch()
    (tmp_path / STATE / ".dvcignore").write_text("*.json\n")
    make_state_folder(tmp_path)
    assert (tmp_path / STATE / ".gitignore").read_text() == "*\n"
    assert (tmp_path / STATE / ".dvcignore").read_text() == "*.json\n"
