"""Weights of single samples: an array of the data set, from its source to the loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import Dataset, Prepare
from stages.data.datasets import ARRAYS_FILE, Arrays, describe, digest, read_arrays, write_dataset
from stages.download.http_download import Patience
from stages.download.sources import obtain
from stages.model.tasks import sample_weights
from stages.prepare.prepare import prepare
from stages.samples.prepared import read_training_data
from tests.support.learning import make_model, patterns

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks  # noqa: E402  (import Keras)

SAMPLES = 240
# What is wrong with an array of weights, and what the sentence must say.
HARMS: dict[str, tuple[Any, str]] = {
    "negative": (lambda good: np.where(np.arange(SAMPLES) == 7, -1, good), "negative, not finite, or all 0"),
    "nan": (lambda good: np.where(np.arange(SAMPLES) == 7, np.nan, good), "negative, not finite, or all 0"),
    "all 0": (lambda good: 0 * good, "negative, not finite, or all 0"),
    "short": (lambda good: good[1:], r"w_train has shape \(239,\) .*expected numbers of shape \(240,\)"),
    "text": (lambda good: good.astype("U8"), "w_train has shape .* type <U8"),
}


def arrays(weights: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
    """Patterns of four classes, with weights for the training samples."""
    made = Arrays(*patterns(SAMPLES), *patterns(60, seed=2), weights)
    return made.named()


def dataset(content: dict[str, NDArray[Any]], **stated: Any) -> Dataset:
    """The section of params.yaml for these arrays."""
    digests = {name: digest(array) for name, array in content.items()}
    url = "http://127.0.0.1:9/patterns.npz"
    return Dataset.model_validate({"title": "Patterns", "url": url, "sha256": digests | stated})


def test_they_come_from_the_source_to_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of one class that weigh nothing are not learnt, the others are; those held out take no weights along."""
    content = arrays(np.where(patterns(SAMPLES)[1] == 2, 0, 1).astype(np.float32))
    np.savez(tmp_path / "patterns.npz", allow_pickle=False, **content)
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path))
    chosen = dataset(content)
    found = obtain("patterns", chosen, Patience())
    write_dataset(tmp_path / "raw", found, describe("patterns", chosen, found))
    settings = Prepare.model_validate({"samples": [10, 230], "validation": 0.25})
    prepare(tmp_path / "raw", tmp_path / "prepared", settings)
    data = read_training_data(tmp_path / "prepared")
    assert data.train.weights is not None and data.validation.weights is None
    assert np.array_equal(data.train.weights, np.where(data.train.labels == 2, 0, 1))
    model = make_model("cnn", epochs=6)
    network = networks.build(model, data.prepared.shape, 4)
    fit.compile_network(network, model, len(data.train.labels))
    fit.fit(network, data, "tried", model)
    said = network.predict(data.validation.images[:], verbose=0).argmax(axis=1)
    right = said == data.validation.labels
    assert not (said == 2).any()
    assert right[data.validation.labels != 2].mean() >= 0.95


def test_weights_of_samples_and_classes_multiply() -> None:
    """A sample counts as much as its own weight times that of its class."""
    labels, own = np.array([0, 1, 1]), np.array([1, 2, 0.5], np.float32)
    weighted = make_model(class_weights=[3.0, 4.0])
    assert sample_weights(labels, weighted, 2, own) == pytest.approx([3, 8, 2])
    assert sample_weights(labels, make_model(), 2, own) == pytest.approx(own)


@pytest.mark.parametrize("harm", HARMS)
def test_bad_weights_are_refused(tmp_path: Path, harm: str) -> None:
    """Each mistake is said, with the array's name."""
    spoil, sentence = HARMS[harm]
    content = arrays(np.ones(SAMPLES, np.float32))
    np.savez(tmp_path / ARRAYS_FILE, allow_pickle=False, **content | {"w_train": spoil(content["w_train"])})
    with pytest.raises(DataError, match=sentence):
        read_arrays(tmp_path / ARRAYS_FILE, 10**9, weights=True)


def test_weights_that_are_stated_and_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without the weights that params.yaml states, or with others, is not the data set."""
    content = arrays(np.ones(SAMPLES, np.float32))
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path))
    for there in (arrays(None), content | {"w_train": 2 * content["w_train"]}):
        np.savez(tmp_path / "patterns.npz", allow_pickle=False, **there)
        with pytest.raises(DataError, match="w_train"):
            obtain("patterns", dataset(content), Patience())


def test_without_them_nothing_changes(tmp_path: Path) -> None:
    """A data set without weights is written as before, and an array that nobody stated is left alone."""
    content = arrays(np.ones(SAMPLES, np.float32))
    np.savez(tmp_path / ARRAYS_FILE, allow_pickle=False, **content)
    assert set(read_arrays(tmp_path / ARRAYS_FILE, 10**9).named()) == {"x_train", "y_train", "x_test", "y_test"}
