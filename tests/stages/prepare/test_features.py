"""The preparation of vectors, sequences and tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from stages.base.errors import InvalidInput
from stages.base.sample_kinds import Kind
from stages.data.config import Dataset, Prepare
from stages.data.datasets import Arrays, describe, write_dataset
from stages.prepare import prepare as prepare_module
from stages.prepare.prepare import prepare
from stages.samples.prepared import TrainingData, raw_pixels, read_training_data

LABELS = (np.arange(60) % 3).astype(np.uint8)
RANDOM = np.random.RandomState(4)
SERIES = RANDOM.normal([5, -300, 0.01], [1, 20, 0.002], (60, 4, 3))
TOKENS = RANDOM.randint(0, 50, (60, 7))


def prepared(folder: Path, kind: Kind, samples: Any, **params: Any) -> TrainingData:
    """Returns the training data of these samples, as the stage wrote it."""
    arrays = Arrays(samples, LABELS, samples[:9], LABELS[:9])
    digests = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), "0" * 64)
    section: dict[str, Any] = {"title": "X", "kind": kind, "url": "http://localhost/x.npz", "sha256": digests}
    section |= {"vocabulary": 50} if kind == "tokens" else {}
    write_dataset(folder / "raw", arrays, describe("x", Dataset.model_validate(section), arrays))
    settings = Prepare.model_validate({"validation": 0.25, "held_out": "last"} | params)
    prepare(folder / "raw", folder / "prepared", settings)
    return read_training_data(folder / "prepared")


@pytest.mark.parametrize("kind", ["vector", "sequence"])
@pytest.mark.parametrize(("normalise", "scaler"), [("unit", MinMaxScaler()), ("standard", StandardScaler())])
def test_features_are_scaled_by_the_training_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, normalise: str, scaler: Any
) -> None:
    """Each feature is scaled as scikit-learn does it, by the training part alone, in chunks of any size."""
    monkeypatch.setattr(prepare_module, "CHUNK_PIXELS", 50)
    samples = SERIES if kind == "sequence" else SERIES[:, 0]
    data = prepared(tmp_path, kind, samples, normalise=normalise)
    scaler.fit(samples[:45].reshape(-1, 3))
    for part, rows in ((data.train, samples[:45]), (data.validation, samples[45:])):
        expected = scaler.transform(rows.reshape(-1, 3)).reshape(rows.shape)
        assert np.allclose(part.images[:], expected, atol=1e-4)
    assert data.prepared.shape == samples.shape[1:]
    assert np.allclose(raw_pixels(data.train.images[:], data.prepared), samples[:45], rtol=1e-5)


def test_constant_feature_becomes_0(tmp_path: Path) -> None:
    """A feature with one value in all training samples is 0, not divided by 0; float32 decides what is one value."""
    samples = SERIES[:, 0].copy()
    samples[:, 1] = 7
    samples[:, 2] = 1e9 + 0.001 * np.arange(60)
    data = prepared(tmp_path, "vector", samples, normalise="standard")
    assert np.abs(data.train.images[:][:, 1:]).max() < 1
    assert np.isfinite(data.train.images[:]).all()


def test_only_constant_features_are_refused(tmp_path: Path) -> None:
    """Where no feature differs there is nothing to learn."""
    with pytest.raises(InvalidInput, match="each feature has the same value in all training samples"):
        prepared(tmp_path, "vector", np.full((60, 3), 2.5))


@pytest.mark.parametrize("normalise", ["unit", "standard"])
def test_tokens_keep_their_values(tmp_path: Path, normalise: str) -> None:
    """Tokens are not scaled, whatever is set for other data."""
    data = prepared(tmp_path, "tokens", TOKENS, normalise=normalise)
    assert np.array_equal(data.train.images[:], TOKENS[:45])
    assert (data.prepared.kind, data.prepared.vocabulary, data.prepared.shape) == ("tokens", 50, (7,))


def test_crop_is_for_images(tmp_path: Path) -> None:
    """A crop of what is no image is refused."""
    with pytest.raises(InvalidInput, match=r"prepare.crop is for images, but the data set has vectors; remove it"):
        prepared(tmp_path, "vector", SERIES[:, 0], crop={"top": 1})
