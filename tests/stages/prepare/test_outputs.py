"""The prepare stage: crop, split, normalisation, and bounded memory."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from stages.prepare import prepare
from stages.prepare.normalisation import moments
from tests.stages.prepare.conftest import ARGUMENTS, OUT, RunPrepare, write_raw
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot, tiny_arrays, write_params


def test_files_are_network_inputs(run_prepare: RunPrepare) -> None:
    """Pixels are float32 (n, h, w, c) in [0, 1] in C order, labels are int64, and the JSON has the constants."""
    result = run_prepare(validation=0.1)
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
    assert result["info"] == {
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
        "picture_form": {"conversion": "stretch", "background": "mixed"},  # of noise
    }


def test_parts_are_the_training_samples_in_order(run_prepare: RunPrepare) -> None:
    """Every training sample is in exactly one part, with its label, in the original order."""
    result, raw = run_prepare(validation=0.25), tiny_arrays()
    positions = {image.tobytes(): index for index, image in enumerate(raw["x_train"])}
    indices = {}
    for part in ("train", "validation"):
        pixels = np.rint(result[f"x_{part}"][..., 0] * 255).astype(np.uint8)
        indices[part] = [positions[image.tobytes()] for image in pixels]
        assert indices[part] == sorted(indices[part])
        assert np.array_equal(raw["y_train"][indices[part]], result[f"y_{part}"])
    assert sorted(indices["train"] + indices["validation"]) == list(range(40))
    assert len(indices["validation"]) == 10


def test_validation_is_stratified_and_follows_the_seed(run_prepare: RunPrepare) -> None:
    """Each class keeps its share, and the held-out samples depend only on the seed."""
    first = np.array(run_prepare(validation=0.2, seed=1)["x_validation"])
    again = run_prepare(validation=0.2, seed=1)
    assert np.bincount(again["y_validation"]).tolist() == [2, 2, 2, 2]
    assert np.array_equal(first, again["x_validation"])
    assert not np.array_equal(first, run_prepare(validation=0.2, seed=2)["x_validation"])


def test_last_samples_can_be_held_out(run_prepare: RunPrepare) -> None:
    """`last` holds out the end of the selected range for every seed, and prepared.json has no seed."""
    raw = tiny_arrays()
    for samples, start, stop in ((None, 32, 40), ([4, 34], 28, 34)):
        result = run_prepare(validation=0.2, held_out="last", samples=samples, seed=7)
        assert np.array_equal(result["y_validation"], raw["y_train"][start:stop])
        assert np.array_equal(np.rint(result["x_validation"][..., 0] * 255), raw["x_train"][start:stop])
        assert result["info"]["validation_seed"] is None


def test_same_input_gives_the_same_bytes(run_prepare: RunPrepare) -> None:
    """Two runs write equal files, and an earlier one that is no longer made is removed."""
    run_prepare(normalise="standard")
    before = snapshot(OUT)
    (OUT / "w_train.npy").write_bytes(b"of a data set with weights")
    run_prepare(normalise="standard")
    assert snapshot(OUT) == before


def test_crop_is_slicing(run_prepare: RunPrepare) -> None:
    """A crop equals slicing in NumPy: 7:-7 of a 28x28 image, and the bottom right quarter."""
    raw = write_raw(tiny_arrays(shape=(28, 28)))["x_train"]
    for crop, slices in (
        ({"top": 7, "bottom": 7, "left": 7, "right": 7}, (slice(7, -7), slice(7, -7))),
        ({"top": 14, "left": 14}, (slice(14, None), slice(14, None))),
    ):
        result = run_prepare(crop=crop, samples=[0, 40])
        expected = raw[:, *slices].astype(np.float32) / 255
        images = np.concatenate([result["x_train"], result["x_validation"]])[..., 0]
        assert result["info"]["shape"] == [14, 14, 1]
        assert sorted(map(np.ndarray.tobytes, images)) == sorted(map(np.ndarray.tobytes, expected))


def test_standard_is_mean_0_and_deviation_1(run_prepare: RunPrepare) -> None:
    """The constants are NumPy's mean and standard deviation of the cropped training part."""
    crop = {"top": 2, "right": 3}
    plain = run_prepare(crop=crop)["x_train"] * 255.0
    mean, deviation = plain.mean(dtype=np.float64), plain.std(dtype=np.float64)
    result = run_prepare(crop=crop, normalise="standard")
    assert result["info"]["offset"] == pytest.approx(mean, rel=1e-6)
    assert result["info"]["scale"] == pytest.approx(deviation, rel=1e-6)
    assert result["x_train"].mean() == pytest.approx(0, abs=1e-5)
    assert result["x_train"].std() == pytest.approx(1, abs=1e-5)


def test_moments_are_exact() -> None:
    """The values 1, 1, 4 have mean 2 and variance 2."""
    assert moments(np.array([0, 2, 0, 0, 1])) == (2.0, 2.0**0.5)


@pytest.mark.parametrize("samples", [[0, 8], [13, 29], [32, 40]])
def test_range_of_samples(run_prepare: RunPrepare, monkeypatch: pytest.MonkeyPatch, samples: list[int]) -> None:
    """[start, stop) selects these samples, independent of the borders of the chunks."""
    monkeypatch.setattr(prepare, "CHUNK_PIXELS", 72 * 5)
    result = run_prepare(samples=samples, validation=0.25)
    images = np.concatenate([result["x_train"], result["x_validation"]])
    expected = tiny_arrays()["x_train"][slice(*samples), ..., None].astype(np.float32) / 255
    assert sorted(map(np.ndarray.tobytes, images)) == sorted(map(np.ndarray.tobytes, expected))


def test_chunk_size_does_not_matter(run_prepare: RunPrepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files have the same bytes for every chunk size."""
    run_prepare(normalise="standard")
    whole = snapshot(OUT)
    monkeypatch.setattr(prepare, "CHUNK_PIXELS", 1)
    run_prepare(normalise="standard")
    assert snapshot(OUT) == whole


def test_colour_images_keep_their_channels(run_prepare: RunPrepare) -> None:
    """Images with three channels stay (n, h, w, 3)."""
    write_raw(tiny_arrays(shape=(8, 9, 3)))
    info = run_prepare()["info"]
    assert (info["raw_shape"], info["shape"]) == ([8, 9, 3], [8, 9, 3])


def test_memory_does_not_grow_with_the_data(run_prepare: RunPrepare) -> None:
    """Ten times as many images increase the peak memory by less than a quarter."""
    peaks = []
    for count in (5_000, 50_000):
        write_raw(tiny_arrays(train=count, shape=(28, 28)))
        tracemalloc.start()
        run_prepare(normalise="standard")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]


def test_stage_is_a_program(run_prepare: RunPrepare) -> None:
    """`python -m stages.prepare` prints a line for each part and for the normalisation, and no error."""
    write_params(Path())
    command = [sys.executable, "-m", "stages.prepare", *ARGUMENTS]
    result = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [
        "train: 36 samples of 8x9x1",
        "validation: 4 samples of 8x9x1",
        "pixels: (pixel - 0) / 255",
    ]
    assert result.stderr == ""


@pytest.mark.parametrize("held_out", ["random", "last"])
def test_no_sample_is_held_out(run_prepare: RunPrepare, held_out: str) -> None:
    """With `validation: 0` all samples are for training, in their order, and the files of the validation are empty."""
    result, raw = run_prepare(validation=0, held_out=held_out), tiny_arrays()
    assert result["info"]["samples"] == {"train": 40, "validation": 0}
    assert np.array_equal(result["y_train"], raw["y_train"])
    assert (result["x_validation"].shape, result["y_validation"].shape) == ((0, 8, 9, 1), (0,))
