"""The prepare stage: crops, splits, normalisation, and memory that stays small."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from stages.prepare import prepare
from tests.stages.prepare.conftest import ARGUMENTS, OUT, Prepared, write_raw
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot, tiny_arrays, write_params


def test_files_are_as_networks_read_them(prepared: Prepared) -> None:
    """Pixels: float32 (n, h, w, c) in [0, 1], memory-mapped in C order; labels: int64; the JSON says how."""
    result = prepared(validation=0.1)
    assert result["x_train"].shape == (36, 8, 9, 1)
    assert result["x_validation"].shape == (4, 8, 9, 1)
    for part in ("train", "validation"):
        images, labels = result[f"x_{part}"], result[f"y_{part}"]
        assert isinstance(images, np.memmap)
        assert images.flags.c_contiguous
        assert (images.dtype, labels.dtype) == (np.float32, np.int64)
        assert len(images) == len(labels)
        assert images.min() >= 0
        assert images.max() <= 1
    assert result["done"] == {
        "dataset": "tiny",
        "classes": 4,
        "class_names": ["0", "1", "2", "3"],
        "pixels": {"low": 0.0, "high": 255.0},
        "raw_shape": [8, 9],
        "shape": [8, 9, 1],
        "crop": {"top": 0, "bottom": 0, "left": 0, "right": 0},
        "normalise": "unit",
        "offset": 0.0,
        "scale": 255.0,
        "samples": {"train": 36, "validation": 4},
        "validation_seed": 0,
    }


def test_parts_are_the_training_samples_in_order(prepared: Prepared) -> None:
    """Every training sample is in one part or the other, with its label, in the old order."""
    result, raw = prepared(validation=0.25), tiny_arrays()
    known = {image.tobytes(): place for place, image in enumerate(raw["x_train"])}
    places = {}
    for part in ("train", "validation"):
        pixels = np.rint(result[f"x_{part}"][..., 0] * 255).astype(np.uint8)
        places[part] = [known[image.tobytes()] for image in pixels]
        assert places[part] == sorted(places[part])
        assert np.array_equal(raw["y_train"][places[part]], result[f"y_{part}"])
    assert sorted(places["train"] + places["validation"]) == list(range(40))
    assert len(places["validation"]) == 10


def test_validation_is_stratified_and_follows_the_seed(prepared: Prepared) -> None:
    """Each class keeps its share; the seed alone decides which of its samples are held out."""
    first = np.array(prepared(validation=0.2, seed=1)["x_validation"])
    again = prepared(validation=0.2, seed=1)
    assert np.bincount(again["y_validation"]).tolist() == [2, 2, 2, 2]
    assert np.array_equal(first, again["x_validation"])
    assert not np.array_equal(first, prepared(validation=0.2, seed=2)["x_validation"])


def test_last_samples_can_be_held_out(prepared: Prepared) -> None:
    """The end of the samples, or of the range that is used, whatever the seed; the record names no seed."""
    raw = tiny_arrays()
    for samples, start, stop in ((None, 32, 40), ([4, 34], 28, 34)):
        result = prepared(validation=0.2, held_out="last", samples=samples, seed=7)
        assert np.array_equal(result["y_validation"], raw["y_train"][start:stop])
        assert np.array_equal(np.rint(result["x_validation"][..., 0] * 255), raw["x_train"][start:stop])
        assert result["done"]["validation_seed"] is None


def test_same_input_gives_the_same_bytes(prepared: Prepared) -> None:
    """Two runs write equal files; a file that does not belong into the folder is gone."""
    prepared(normalise="standard")
    before = snapshot(OUT)
    (OUT / "stale.npy").write_bytes(b"old")
    prepared(normalise="standard")
    assert snapshot(OUT) == before


def test_crop_is_slicing(prepared: Prepared) -> None:
    """A crop keeps what Python's slices keep: the seeds' 7:-7 of a 28x28 image, and the bottom right."""
    raw = write_raw(tiny_arrays(shape=(28, 28)))["x_train"]
    for crop, slices in (
        ({"top": 7, "bottom": 7, "left": 7, "right": 7}, (slice(7, -7), slice(7, -7))),
        ({"top": 14, "left": 14}, (slice(14, None), slice(14, None))),
    ):
        result = prepared(crop=crop, samples=[0, 40])
        wanted = raw[:, *slices].astype(np.float32) / 255
        kept = np.concatenate([result["x_train"], result["x_validation"]])[..., 0]
        assert result["done"]["shape"] == [14, 14, 1]
        assert sorted(map(np.ndarray.tobytes, kept)) == sorted(map(np.ndarray.tobytes, wanted))


def test_standard_is_mean_0_and_deviation_1(prepared: Prepared) -> None:
    """The constants are NumPy's mean and standard deviation of the cropped part to train on."""
    crop = {"top": 2, "right": 3}
    plain = prepared(crop=crop)["x_train"] * 255.0
    mean, deviation = plain.mean(dtype=np.float64), plain.std(dtype=np.float64)
    result = prepared(crop=crop, normalise="standard")
    assert result["done"]["offset"] == pytest.approx(mean, rel=1e-6)
    assert result["done"]["scale"] == pytest.approx(deviation, rel=1e-6)
    assert result["x_train"].mean() == pytest.approx(0, abs=1e-5)
    assert result["x_train"].std() == pytest.approx(1, abs=1e-5)


def test_moments_are_exact() -> None:
    """Mean and deviation of a histogram are those of the values: 1, 1, 4 have mean 2 and variance 2."""
    assert prepare.moments(np.array([0, 2, 0, 0, 1])) == (2.0, 2.0**0.5)


@pytest.mark.parametrize("samples", [[0, 8], [13, 29], [32, 40]])
def test_range_of_samples(prepared: Prepared, monkeypatch: pytest.MonkeyPatch, samples: list[int]) -> None:
    """[start, stop) takes these samples, wherever the borders of the pieces lie that are read at once."""
    monkeypatch.setattr(prepare, "CHUNK_PIXELS", 72 * 5)
    result = prepared(samples=samples, validation=0.25)
    both = np.concatenate([result["x_train"], result["x_validation"]])
    wanted = tiny_arrays()["x_train"][slice(*samples), ..., None].astype(np.float32) / 255
    assert sorted(map(np.ndarray.tobytes, both)) == sorted(map(np.ndarray.tobytes, wanted))


def test_pieces_do_not_show(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are the same, to the last bit of the constants, however much is read at once."""
    prepared(normalise="standard")
    whole = snapshot(OUT)
    monkeypatch.setattr(prepare, "CHUNK_PIXELS", 1)
    prepared(normalise="standard")
    assert snapshot(OUT) == whole


def test_colour_images_keep_their_channels(prepared: Prepared) -> None:
    """Images with three channels stay (n, h, w, 3)."""
    write_raw(tiny_arrays(shape=(8, 9, 3)))
    done = prepared()["done"]
    assert (done["raw_shape"], done["shape"]) == ([8, 9, 3], [8, 9, 3])


def test_memory_does_not_grow_with_the_data(prepared: Prepared) -> None:
    """Ten times the images, and the peak of memory stays within a quarter of what it was."""
    peaks = []
    for count in (5_000, 50_000):
        write_raw(tiny_arrays(train=count, shape=(28, 28)))
        tracemalloc.start()
        prepared(normalise="standard")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]


def test_stage_is_a_program(prepared: Prepared) -> None:
    """`python -m stages.prepare` says what it made, line by line, and nothing on standard error."""
    write_params(Path())
    command = [sys.executable, "-m", "stages.prepare", *ARGUMENTS]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "train: 36 samples of 8x9x1",
        "validation: 4 samples of 8x9x1",
        "pixels: (pixel - 0) / 255",
    ]
    assert done.stderr == ""
