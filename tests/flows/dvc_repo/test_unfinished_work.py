"""Checkpoints and unfinished downloads outlast the clone of a killed run."""

import shutil
from pathlib import Path

import pytest

from flows.dvc_repo.versions.unfinished_work import FOLDERS, keep_unfinished_work
from stages.base.errors import OutputError
from stages.download.sources import DOWNLOADS
from stages.train.checkpoints import DEFAULT_FOLDER


def test_the_folders_are_those_of_the_stages() -> None:
    """What trainings and downloads leave when they are killed lies in these folders."""
    assert FOLDERS == (DEFAULT_FOLDER, DOWNLOADS)


def test_a_later_clone_has_the_files_of_an_earlier_one(tmp_path: Path) -> None:
    """Files in a clone's folders stay when the clone is removed; those of the project's own runs are other ones."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("of the project")
    for text in ("", "of the clone"):
        clone = tmp_path / ".dvc/tmp/inkflow/run"
        clone.mkdir(parents=True)
        keep_unfinished_work(clone, tmp_path)
        for folder in FOLDERS:
            assert [path.read_text() for path in (clone / folder).iterdir()] == ([text] if text else [])
            (clone / folder / "file").write_text("of the clone")
        shutil.rmtree(clone)
    assert [(tmp_path / folder / "file").read_text() for folder in FOLDERS] == ["of the project"] * 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Where a file is in the place of a folder, one sentence names the path."""
    (tmp_path / ".inkflow").touch()
    with pytest.raises(OutputError, match=r"\.inkflow/checkpoints"):
        keep_unfinished_work(tmp_path / "clone", tmp_path)
