"""Files of checkpoints: whole or refused, one for each training, and gone when they are old. Needs no Keras."""

import hashlib
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import OutputError
from stages.train.checkpoints import Checkpoint, CheckpointFile, checkpoint_key, decode, encode, remove_old
from stages.train.progress import Epoch

SAVED = Checkpoint(
    [Epoch(1, 0.1, 0.2, 0.3, 1 / 3)],
    [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.array([1, 2**32 - 1], np.uint32)],
    [np.ones(3, np.float32)],
    12.5,
)


def equal(one: Checkpoint, other: Checkpoint) -> bool:
    """Returns whether two checkpoints are equal to the bit."""
    return encode(one) == encode(other)


def make_file(path: Path, days: float) -> None:
    """Writes a file that was last changed so many days ago."""
    path.write_text("")
    os.utime(path, (time.time() - days * 86400,) * 2)


def make_folder(path: Path, days: float) -> None:
    """Makes a folder with a file that was last changed so many days ago."""
    path.mkdir()
    (path / "file").write_text("")
    os.utime(path, (time.time() - days * 86400,) * 2)


def test_saved_checkpoint_is_loaded(tmp_path: Path) -> None:
    """A loaded checkpoint has every array with its type and shape, and the history to the last digit."""
    checkpoint_file = CheckpointFile(tmp_path / "new", "tried", checkpoint_key({"a": 1}))
    assert checkpoint_file.load() is None
    checkpoint_file.save(SAVED)
    loaded = checkpoint_file.load()
    assert loaded is not None
    assert equal(loaded, SAVED)
    assert [array.dtype for array in loaded.state] == [array.dtype for array in SAVED.state]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [checkpoint_file.path.name]
    checkpoint_file.remove()
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("position", [0, 70, -1])
def test_damaged_file_is_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str], position: int) -> None:
    """A file with one changed byte, at any position, is renamed with a warning, and not used."""
    checkpoint_file = CheckpointFile(tmp_path, "tried", checkpoint_key({}))
    checkpoint_file.save(SAVED)
    content = bytearray(checkpoint_file.path.read_bytes())
    content[position] ^= 1
    checkpoint_file.path.write_bytes(content)
    assert checkpoint_file.load() is None
    error = capsys.readouterr().err
    assert (
        error.startswith("warning: the checkpoint") and f"and was renamed to tried-{checkpoint_key({})[:32]}." in error
    )
    assert [path.suffix for path in tmp_path.iterdir()] == [".damaged"]


def test_a_damaged_file_that_cannot_be_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The warning does not say that the file was renamed where it could not be, as in a folder of another user."""
    checkpoint_file = CheckpointFile(tmp_path, "tried", checkpoint_key({}))
    checkpoint_file.path.write_bytes(b"damaged")
    (checkpoint_file.path.with_suffix(".damaged") / "in the way").mkdir(parents=True)
    assert checkpoint_file.load() is None
    error = capsys.readouterr().err
    assert "does not match its checksum), and cannot be renamed (Is a directory); the training starts" in error
    assert "was renamed" not in error and checkpoint_file.path.exists()


def test_truncated_file_is_refused() -> None:
    """The first half of a file is not a checkpoint."""
    content = encode(SAVED)
    with pytest.raises(ValueError, match="checksum"):
        decode(content[: len(content) // 2])


def test_another_key_is_another_training(tmp_path: Path) -> None:
    """A checkpoint with another key is not loaded."""
    CheckpointFile(tmp_path, "tried", checkpoint_key({"epochs": 3})).save(SAVED)
    assert CheckpointFile(tmp_path, "tried", checkpoint_key({"epochs": 4})).load() is None


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    """A file in place of the folder is reported in one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        CheckpointFile(tmp_path / "file", "tried", "0" * 64).save(SAVED)


def test_old_checkpoints_are_removed(tmp_path: Path) -> None:
    """Checkpoints older than two weeks are removed, younger ones stay."""
    old, new = CheckpointFile(tmp_path, "old", "0" * 64), CheckpointFile(tmp_path, "new", "0" * 64)
    for checkpoint_file in (old, new):
        checkpoint_file.save(SAVED)
    long_ago = time.time() - 15 * 24 * 60 * 60
    os.utime(old.path, (long_ago, long_ago))
    remove_old(tmp_path)
    assert list(tmp_path.iterdir()) == [new.path]


def test_the_age_of_a_checkpoint(tmp_path: Path) -> None:
    """A checkpoint of less than two weeks stays, an older one is removed, as are finished seeds of a killed run."""
    key, longest = "0" * 32, "m" * 40
    make_file(tmp_path / f"a-{key}.checkpoint", 13.99)
    for suffix in ("checkpoint", "damaged", "partial"):
        make_file(tmp_path / f"{longest}-{key}.{suffix}", 14.01)
    make_folder(tmp_path / f"a-{key}.finished", 13.99)
    for name in (f"{longest}-{key}.finished", f".b_1-{key}.finished.new", f".b_1-{key}.finished.old"):
        make_folder(tmp_path / name, 14.01)
    remove_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a-{key}.checkpoint", f"a-{key}.finished"]
    remove_old(tmp_path / "none")


def test_files_of_the_user_stay(tmp_path: Path) -> None:
    """In a folder that the user names, no file or folder of another name is removed, however old and like a checkpoint
    it is.
    """
    key = "0123456789abcdef" * 2
    files = (
        "notes.txt", "thesis-2025.pdf", f"a-{key}.keras", f"a-{key}.finished", f"a-{key[1:]}.checkpoint",
        f"a-{key}0.checkpoint", f"A-{key}.checkpoint", f".a-{key}.checkpoint", f"a-{key}.checkpoint.zip",
    )  # fmt: skip
    folders = ("my-data.v2", f"b-{key}.checkpoint", f"b-{key}.finished.old", f".b-{key}.finished", ".my-data.old")
    for name in files:
        make_file(tmp_path / name, 99)
    for name in folders:
        make_folder(tmp_path / name, 99)
    remove_old(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*files, *folders}
    assert all((tmp_path / name / "file").exists() for name in folders)


def test_the_key_covers_every_input() -> None:
    """Equal inputs have the same key in any order, others have another one, and so a file of their own."""
    key = checkpoint_key({"a": 1, "b": [2]})
    assert key == checkpoint_key({"b": [2], "a": 1})
    assert key != checkpoint_key({"a": 1, "b": [3]}) != checkpoint_key({"a": 1})
    assert len({CheckpointFile(Path(), name, key).path for name, key in (("x", key), ("y", key), ("x", "0" * 64))}) == 3


def test_all_is_kept(tmp_path: Path) -> None:
    """State and best weights keep their order, however many they are, and the duration its fraction."""
    state = [np.full(2, number) for number in range(12)]
    saved = Checkpoint([Epoch(1, 0.1, 0.2, 0.3, 0.4), Epoch(2, 0.5, 0.6, 0.7, 0.8)], state, state[::-1], 0.25)
    loaded = decode(encode(saved))
    assert [array[0] for array in loaded.state] == list(range(12)) == [array[0] for array in loaded.best][::-1]
    assert (loaded.history, loaded.fit_s) == (saved.history, 0.25)
    assert decode(encode(saved._replace(best=[]))).best == []


def test_content_of_another_kind_is_refused() -> None:
    """A file whose checksum is right, but which is no training's state, is refused with a reason."""
    other = io.BytesIO()
    np.savez(other, x=np.zeros(1))
    for packed in (b"", b"text", other.getvalue()):
        with pytest.raises(ValueError):
            decode(hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed)


def test_a_failed_save_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """When a checkpoint cannot be written, the one before stays and no part of the new one is left."""
    checkpoint_file = CheckpointFile(tmp_path, "tried", "0" * 64)
    checkpoint_file.save(SAVED)
    checkpoint_file.path.with_suffix(".partial").mkdir()
    with pytest.raises(OutputError):
        checkpoint_file.save(SAVED._replace(fit_s=99.0))
    checkpoint_file.path.with_suffix(".partial").rmdir()
    loaded = checkpoint_file.load()
    assert loaded is not None and equal(loaded, SAVED)
    deep = CheckpointFile(tmp_path / "new" / "deeper", "tried", "0" * 64)
    deep.save(SAVED)
    assert deep.path.exists()
    directory = CheckpointFile(tmp_path, "other", "0" * 64)
    directory.path.mkdir()
    (directory.path / "file").write_text("")
    with pytest.raises(OutputError):
        directory.save(SAVED)
    assert not directory.path.with_suffix(".partial").exists()


def test_a_leftover_is_overwritten_and_removed(tmp_path: Path) -> None:
    """Half a file that a kill has left is no checkpoint; it is replaced by the next one, and removed at the end."""
    checkpoint_file = CheckpointFile(tmp_path, "tried", "0" * 64)
    leftover = checkpoint_file.path.with_suffix(".partial")
    leftover.write_bytes(b"half")
    assert checkpoint_file.load() is None
    checkpoint_file.save(SAVED)
    assert not leftover.exists()
    leftover.write_bytes(b"half")
    checkpoint_file.remove()
    assert list(tmp_path.iterdir()) == []
    checkpoint_file.remove()
