"""Files and folders that a process makes for itself alone, of which nothing stays; and the wait for the run lock."""

import resource
import threading
from pathlib import Path

import pytest

from flows.core.file_lock import WAITING, emptied_folder, run_lock
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


def test_the_wait_for_the_run_lock_can_be_ended(tmp_path: Path) -> None:
    """A thread that waits for the lock goes on without it when it is told to stop; the lock is as free as before."""
    stop, messages = threading.Event(), list[str]()

    def stop_waiting(message: str) -> None:
        messages.append(message)
        threading.Timer(0.3, stop.set).start()

    with run_lock(tmp_path, print) as is_held:
        assert is_held
        with run_lock(tmp_path, stop_waiting, stop=stop) as is_held:
            assert not is_held
    assert messages == [WAITING]
    with run_lock(tmp_path, messages.append) as is_held:
        assert is_held and messages == [WAITING]


def test_the_run_lock_is_taken_when_it_is_free(tmp_path: Path) -> None:
    """A process that waits gets the lock when the other one has released it."""
    held, release, order = threading.Event(), threading.Event(), list[str]()

    def hold() -> None:
        with run_lock(tmp_path, print):
            held.set()
            release.wait(60)
            order.append("first")

    first = threading.Thread(target=hold)
    first.start()
    assert held.wait(60)
    with run_lock(tmp_path, lambda _: threading.Timer(0.3, release.set).start()) as is_held:
        order.append("second")
        assert is_held
    first.join(60)
    assert order == ["first", "second"]
