"""The prepare stage: what is refused, and a folder that is replaced as a whole or not at all."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.prepare import prepare
from tests.stages.prepare.conftest import ARGUMENTS, FAILED, OUT, RAW, Prepared, Refusal, write_raw
from tests.support.tiny_data import refusal, replace_entry, save, snapshot, tiny_arrays, write_params


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            {"crop": {"top": 5, "bottom": 3}},
            "prepare.crop cuts 5 and 3 rows off images that have 8; cut at most 7",
        ),
        ({"crop": {"left": 9}}, "prepare.crop cuts 9 and 0 columns off images that have 9"),
        ({"samples": [0, 41]}, "prepare.samples is [0, 41], but the training part has 40 samples"),
        ({"validation": 0.01}, "leaves 40 to train on and 0 to validate with"),
        ({"validation": 0.99}, "leaves 0 to train on and 40 to validate with"),
        ({"samples": [0, 1], "validation": 0.5}, "leaves 1 to train on and 0 to validate with"),
        ({"samples": [5, 5]}, "prepare.samples"),
        ({"normalise": "unity"}, "prepare.normalise"),
        ({"validation": -0.1}, "prepare.validation"),
    ],
)
def test_parameters_that_leave_nothing_are_refused(refused: Refusal, params: dict[str, Any], words: str) -> None:
    """A crop, range or share that leaves nothing on one side is one sentence with the numbers."""
    assert words in refused(**params)


def test_last_samples_need_every_label_among_the_others(refused: Refusal) -> None:
    """Data in the order of their labels: a label that would be held out altogether is named."""
    write_raw({"y_train": np.arange(40, dtype=np.uint8) // 10})
    assert "all of label 3, which could not be learnt" in refused(held_out="last", validation=0.25)


def test_largest_crop_is_accepted(prepared: Prepared) -> None:
    """One pixel may be left."""
    crop = {"top": 4, "bottom": 3, "left": 8}
    assert prepared(crop=crop)["done"]["shape"] == [1, 1, 1]


def test_constant_pixels_cannot_be_standardised(refused: Refusal) -> None:
    """With no deviation there is nothing to divide by; the sentence names the other choice."""
    write_raw({"x_train": np.full((40, 8, 9), 7, np.uint8)})
    assert "every pixel is 7" in refused(normalise="standard")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_train": None}, "the array y_train is missing"),
        ({"y_train": np.array([None] * 40)}, "pickled Python objects"),
        ({"x_train": np.zeros((40, 72), np.uint8)}, "x_train has shape (40, 72)"),
        ({"x_train": np.full((40, 8, 9), np.nan)}, "some of them not a number (NaN)"),
        ({"y_train": np.zeros(39, np.uint8)}, "40 images and y_train 39 labels"),
        ({"y_train": np.full(40, 9)}, "y_train holds the label 9, expected 0 to 3"),
        ({"y_train": np.full(40, -1)}, "y_train holds the label -1"),
    ],
)
def test_tampered_data_is_refused(refused: Refusal, changes: dict[str, Any], words: str) -> None:
    """Arrays that the download stage would not write are refused: which file, and what to do."""
    save(RAW / "dataset.npz", changes)
    sentence = refused()
    assert sentence.startswith("error: data/raw/dataset.npz: ")
    assert words in sentence
    assert "run the download stage again" in sentence


def test_damaged_pixels_are_noticed(refused: Refusal) -> None:
    """One flipped byte among the pixels ends the stage: the zip file's own checksum differs."""
    path = RAW / "dataset.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"x_train.npy") + 11 + 128 + 2_000] ^= 1
    path.write_bytes(content)
    assert "x_train is damaged or cut short (Bad CRC-32" in refused()


@pytest.mark.parametrize("name", ["dataset.npz", "dataset.json"])
def test_missing_data_is_named(refused: Refusal, name: str) -> None:
    """A missing input is named, with the command that makes it."""
    (RAW / name).unlink()
    sentence = refused()
    assert sentence.startswith(f"error: data/raw/{name}: ")
    assert "python -m stages.download" in sentence


def test_not_a_zip_is_refused(refused: Refusal) -> None:
    """Another file under the name dataset.npz is no traceback."""
    (RAW / "dataset.npz").write_text("hello")
    assert "not a zip file" in refused()


def test_wrong_array_header_is_refused(refused: Refusal) -> None:
    """An array whose header is garbage is no traceback."""
    replace_entry(RAW / "dataset.npz", "y_train.npy", b"\x93NUMPY\x01\x00\x02\x00{}")
    assert "y_train has no valid npy header" in refused()


def test_file_in_place_of_the_folder(prepared: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the folder should be is not removed."""
    write_params(Path())
    OUT.write_text("mine")
    code, sentence = refusal(prepare.main, ARGUMENTS, capsys)
    assert (code, sentence.startswith("error: cannot write data/prepared: Not a directory")) == (FAILED, True)
    assert OUT.read_text() == "mine"
    assert not (OUT.parent / ".prepared.new").exists()


def test_debris_of_a_killed_run_is_removed(prepared: Prepared) -> None:
    """What a killed process left beside the folder is gone after the next run."""
    for name in (".prepared.new", ".prepared.old"):
        (OUT.parent / name).mkdir()
        (OUT.parent / name / "x_train.npy").write_bytes(b"half")
    prepared()
    assert sorted(path.name for path in OUT.parent.iterdir()) == ["prepared", "raw"]


@pytest.fixture
def small_disk(prepared: Prepared) -> Iterator[Path]:
    """A file system of 1 MiB at data/small, which holds an earlier data/small/prepared."""
    folder = Path("data/small").absolute()
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        write_params(Path())
        assert prepare.main(["--raw", str(RAW), "--out", "data/small/prepared"]) == 0
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("full", "words"), [(True, "No space left on device"), (False, "Read-only file system")])
def test_full_or_read_only_disk(small_disk: Path, capsys: pytest.CaptureFixture[str], full: bool, words: str) -> None:
    """On a full or read-only disk the earlier folder stays whole, and the sentence tells why."""
    if full:
        write_raw(tiny_arrays(train=2_000, shape=(28, 28)))
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    before = snapshot(small_disk)
    code, sentence = refusal(prepare.main, ["--raw", str(RAW), "--out", "data/small/prepared"], capsys)
    assert code == FAILED
    assert sentence.startswith(f"error: cannot write data/small/prepared: {words}")
    assert snapshot(small_disk) == before
