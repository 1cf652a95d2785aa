"""The reference that a training writes into its exported model: what its answers and validation images look like."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from stages.model.reference import METADATA, UNLIKE, Reference
from stages.samples.image_statistics import STATISTICS, WHITE, image_statistics
from stages.samples.prepared import TrainingData, raw_pixels
from stages.train.doubt.reference import BINS, distribution
from stages.train.training import train
from tests.support.learning import make_model, write_data

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def trained_reference(out: Path, **parameters: Any) -> tuple[Reference | None, onnxruntime.InferenceSession]:
    """Trains on tiny data; returns the reference in the model's metadata, and a session of the model."""
    folders = write_data(out)
    train("m", make_model(**parameters), folders.prepared, out / "m", out / "checkpoints")
    session = onnxruntime.InferenceSession(out / "m/model.onnx")
    return Reference.from_metadata(session.get_modelmeta().custom_metadata_map), session


@pytest.mark.farm  # test_train.py does it with a model of many classes
def test_reference_is_what_the_exported_model_answers(tmp_path: Path) -> None:
    """The reference of a model with two classes is what the model answers."""
    reference, session = trained_reference(tmp_path, task="two_class", positive=[1])
    check_reference(reference, session, write_data(tmp_path).data)


def check_reference(reference: Reference | None, session: onnxruntime.InferenceSession, data: TrainingData) -> None:
    """Classes, statistics and their bins are those of ONNX Runtime's answers on the raw validation images."""
    pixels = raw_pixels(data.validation.images[:], data.prepared)
    probabilities, unlikeness = session.run(None, {"pixels": pixels})
    assert reference is not None and reference.samples == len(pixels)
    assert reference.classes == tuple(np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]))
    found = dict(zip(STATISTICS, image_statistics(pixels, reference.crop).T, strict=True)) | {UNLIKE: unlikeness[:, 0]}
    for name, values in found.items():
        expected, item = distribution(np.round(values.astype(float), 3 if name == UNLIKE else 4)), reference.statistics
        assert item[name].counts == expected.counts and np.allclose(item[name].edges, expected.edges, atol=1e-3)
    assert reference.unsure[-1] == 0 and list(reference.unsure) == sorted(reference.unsure, reverse=True)


@pytest.mark.farm
def test_a_regression_has_no_reference(tmp_path: Path) -> None:
    """A regression has no classes and no confidence to compare: its model carries no reference."""
    assert trained_reference(tmp_path, task="regression")[0] is None


def test_image_statistics_of_known_images() -> None:
    """Ink, spread, centre of mass and sharpness of a white half, without the cropped rows; a blank image has no NaN."""
    image = np.zeros((3, 6, 4), np.float32)
    image[0, 2:, :2] = WHITE  # the left half, below a crop of two rows
    image[1] = WHITE
    half, white, black = (dict(zip(STATISTICS, row, strict=True)) for row in image_statistics(image, (2, 0, 0, 0)))
    assert half["ink"] == 0.5 and half["spread"] == 0.5 and half["row"] == 0.5 and half["column"] == 0.25
    assert half["sharpness"] == pytest.approx(np.sqrt(4 / (3 * 4 + 4 * 3)) / 0.5)  # 4 of 24 pairs of neighbours differ
    assert white == {"ink": 1, "spread": 0, "row": 0.5, "column": 0.5, "sharpness": 0}
    assert black == {"ink": 0, "spread": 0, "row": 0.5, "column": 0.5, "sharpness": 0}
    colour = np.repeat(image[..., np.newaxis], 3, axis=3)
    assert np.allclose(image_statistics(colour), image_statistics(image))


def test_bins_hold_equal_counts() -> None:
    """Of distinct values each bin holds a twentieth; equal values share one bin; each sample is counted once."""
    spread = distribution(np.random.default_rng(0).permutation(1000) / 1000)
    assert spread.counts == (50,) * BINS
    equal = distribution(np.ones(77))
    assert (equal.edges, equal.counts) == ((1.0,), (0, 77))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"samples": 5}, "sum is not the number"),
        ({"classes": [-1, 5]}, "below 0"),
        ({"crop": [0]}, "four sides"),
        ({"statistics": {"ink": {"edges": [2, 1], "counts": [1, 1, 2]}}}, "ascending"),
        ({"statistics": {"ink": {"edges": [float("nan")], "counts": [2, 2]}}}, "not finite"),
        ({"statistics": [1]}, "not an object of counts"),
        ({"unsure": [9]}, "more unsure samples"),
        ({"samples": 10**400, "classes": [10**400]}, "sum is not the number"),
    ],
)
def test_metadata_of_other_programs_are_refused(change: dict[str, object], problem: str) -> None:
    """Metadata that no training writes are an error with its reason, never a wrong comparison."""
    text = json.dumps(json.loads(Reference(4, (1, 3)).to_json()) | change)
    with pytest.raises(ValueError, match=problem):
        Reference.from_metadata({METADATA: text})
