"""The prepare stage: rejected input, and atomic replacement of the output folder."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.prepare import prepare
from tests.stages.prepare.conftest import ARGUMENTS, FAILED, INVALID, OUT, RAW, RunFailing, RunPrepare, write_raw
from tests.support.tiny_data import expect_error, replace_entry, save, snapshot, tiny_arrays, write_params


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"crop": {"top": 5, "bottom": 3}},
            "prepare.crop removes 5 and 3 rows from images that have 8; remove at most 7 in total",
        ),
        ({"crop": {"left": 9}}, "prepare.crop removes 9 and 0 columns from images that have 9"),
        ({"samples": [0, 41]}, "prepare.samples is [0, 41], but the training part has 40 samples"),
        ({"validation": 0.01}, "leaves 40 for training and 0 for validation"),
        ({"validation": 0.99}, "leaves 0 for training and 40 for validation"),
        ({"samples": [0, 1], "validation": 0.5}, "leaves 1 for training and 0 for validation"),
        ({"samples": [5, 5]}, "prepare.samples"),
        ({"normalise": "unity"}, "prepare.normalise"),
        ({"validation": -0.1}, "prepare.validation"),
    ],
)
def test_invalid_parameters_are_rejected(run_failing: RunFailing, params: dict[str, Any], message: str) -> None:
    """A crop, range or share that leaves no pixels or no samples is reported with its numbers."""
    assert message in run_failing(**params)


def test_last_samples_must_not_hold_all_of_a_label(run_failing: RunFailing) -> None:
    """With data in the order of their labels, the message names a label without training samples."""
    write_raw({"y_train": np.arange(40, dtype=np.uint8) // 10})
    assert "hold all samples of label 3" in run_failing(held_out="last", validation=0.25)


def test_the_only_sample_of_a_class_must_not_be_held_out(run_failing: RunFailing) -> None:
    """If the random selection takes the only sample of a class, the message names it; another share leaves it."""
    write_raw({"y_train": (np.arange(40) == 7).astype(np.uint8)})
    error = run_failing(validation=0.5)
    assert "hold all samples of label 1, so it cannot be learnt; choose another share, or remove the class" in error
    write_params(Path(), validation=0.25)
    assert prepare.main(ARGUMENTS) == 0


def test_largest_crop_is_accepted(run_prepare: RunPrepare) -> None:
    """A crop may leave a single pixel."""
    crop = {"top": 4, "bottom": 3, "left": 8}
    assert run_prepare(crop=crop)["info"]["shape"] == [1, 1, 1]


def test_constant_pixels_cannot_be_standardised(run_failing: RunFailing) -> None:
    """A standard deviation of 0 is rejected, and the message names the alternative."""
    write_raw({"x_train": np.full((40, 8, 9), 7, np.uint8)})
    assert "every pixel is 7" in run_failing(normalise="standard")


@pytest.mark.parametrize(
    ("changes", "message"),
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
def test_changed_data_is_rejected(run_failing: RunFailing, changes: dict[str, Any], message: str) -> None:
    """Arrays that the download stage does not write are rejected; the message has the file and a remedy."""
    save(RAW / "dataset.npz", changes)
    error = run_failing()
    assert error.startswith("error: data/raw/dataset.npz: ")
    assert message in error
    assert "run the download stage again" in error


def test_damaged_pixels_are_detected(run_failing: RunFailing) -> None:
    """A changed byte in the pixels is detected by the checksum of the zip file."""
    path = RAW / "dataset.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"x_train.npy") + 11 + 128 + 2_000] ^= 1
    path.write_bytes(content)
    assert "x_train is damaged or cut short (Bad CRC-32" in run_failing()


@pytest.mark.parametrize("name", ["dataset.npz", "dataset.json"])
def test_missing_data_is_named(run_failing: RunFailing, name: str) -> None:
    """The message about a missing input has its name and the command that writes it."""
    (RAW / name).unlink()
    error = run_failing()
    assert error.startswith(f"error: data/raw/{name}: ")
    assert "python -m stages.download" in error


def test_other_file_is_rejected(run_failing: RunFailing) -> None:
    """A dataset.npz that is no zip file is rejected without a traceback."""
    (RAW / "dataset.npz").write_text("hello")
    assert "not a zip file" in run_failing()


def test_invalid_array_header_is_rejected(run_failing: RunFailing) -> None:
    """An array with an invalid header is rejected without a traceback."""
    replace_entry(RAW / "dataset.npz", "y_train.npy", b"\x93NUMPY\x01\x00\x02\x00{}")
    assert "y_train has no valid npy header" in run_failing()


def test_file_in_place_of_the_folder(run_prepare: RunPrepare, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in place of the output folder is not removed."""
    write_params(Path())
    OUT.write_text("a file")
    code, error = expect_error(prepare.main, ARGUMENTS, capsys)
    assert (code, error) == (INVALID, "error: data/prepared: is a file; name a folder\n")
    assert OUT.read_text() == "a file"
    assert not (OUT.parent / ".prepared.new").exists()


def test_files_of_the_user_in_the_output_folder(run_prepare: RunPrepare, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with other files than the stage's own is not replaced: it would be deleted with them."""
    run_prepare()
    run_prepare()
    (OUT / "thesis.tex").write_text("a file")
    code, error = expect_error(prepare.main, ARGUMENTS, capsys)
    assert (code, error.partition(",")[0]) == (INVALID, "error: data/prepared: has other files")
    assert (OUT / "thesis.tex").exists() and (OUT / "x_train.npy").exists()


def test_temporary_folders_of_a_killed_run_are_removed(run_prepare: RunPrepare) -> None:
    """The next run removes the temporary folders of a killed process."""
    for name in (".prepared.new", ".prepared.old"):
        (OUT.parent / name).mkdir()
        (OUT.parent / name / "x_train.npy").write_bytes(b"partial")
    run_prepare()
    assert sorted(path.name for path in OUT.parent.iterdir()) == ["prepared", "raw"]


@pytest.fixture
def small_disk(run_prepare: RunPrepare) -> Iterator[Path]:
    """A file system of 1 MiB at data/small, which holds an earlier data/small/prepared."""
    folder = Path("data/small").absolute()
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        write_params(Path())
        assert prepare.main(["--raw", str(RAW), "--out", "data/small/prepared"]) == 0
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("full", "message"), [(True, "No space left on device"), (False, "Read-only file system")])
def test_full_or_read_only_disk(small_disk: Path, capsys: pytest.CaptureFixture[str], full: bool, message: str) -> None:
    """On a full or read-only disk the earlier folder stays complete, and the message has the reason."""
    if full:
        write_raw(tiny_arrays(train=2_000, shape=(28, 28)))
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    before = snapshot(small_disk)
    code, error = expect_error(prepare.main, ["--raw", str(RAW), "--out", "data/small/prepared"], capsys)
    assert code == FAILED
    assert error.startswith(f"error: cannot write data/small/prepared: {message}")
    assert snapshot(small_disk) == before
