"""Sample weights of a data set, from their source to the loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import Dataset, Prepare
from stages.data.datasets import ARRAYS_FILE, Arrays, describe, digest, read_arrays, write_dataset
from stages.download.sources import fetch_arrays
from stages.model.tasks import sample_weights
from stages.prepare.prepare import prepare
from stages.samples.prepared import read_training_data
from tests.support.learning import make_model, patterns

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks  # noqa: E402  (import Keras)

SAMPLES = 240
# A function that makes weights invalid, and the expected message.
INVALID_WEIGHTS: dict[str, tuple[Any, str]] = {
    "negative": (lambda weights: np.where(np.arange(SAMPLES) == 7, -1, weights), "negative, not finite, or all 0"),
    "nan": (lambda weights: np.where(np.arange(SAMPLES) == 7, np.nan, weights), "negative, not finite, or all 0"),
    "all 0": (lambda weights: 0 * weights, "negative, not finite, or all 0"),
    "short": (lambda weights: weights[1:], r"w_train has shape \(239,\) .*expected numbers of shape \(240,\)"),
    "text": (lambda weights: weights.astype("U8"), "w_train has shape .* type <U8"),
}


def arrays(weights: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
    """Returns patterns of four classes, with `weights` for the training samples."""
    return Arrays(*patterns(SAMPLES), *patterns(60, seed=2), weights).by_name()


def dataset(content: dict[str, NDArray[Any]]) -> Dataset:
    """Returns the section of params.yaml for these arrays."""
    digests = {name: digest(array) for name, array in content.items()}
    url = "http://127.0.0.1:9/patterns.npz"
    return Dataset.model_validate({"title": "Patterns", "url": url, "sha256": digests})


def test_weights_reach_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class whose samples have weight 0 is not learnt, and the others are; the validation part has no weights."""
    content = arrays(np.where(patterns(SAMPLES)[1] == 2, 0, 1).astype(np.float32))
    np.savez(tmp_path / "patterns.npz", allow_pickle=False, **content)
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path))
    section = dataset(content)
    fetched = fetch_arrays("patterns", section)
    write_dataset(tmp_path / "raw", fetched, describe("patterns", section, fetched))
    params = Prepare.model_validate({"samples": [10, 230], "validation": 0.25})
    prepare(tmp_path / "raw", tmp_path / "prepared", params)
    data = read_training_data(tmp_path / "prepared")
    assert data.train.weights is not None and data.validation.weights is None
    assert np.array_equal(data.train.weights, np.where(data.train.labels == 2, 0, 1))
    model = make_model("cnn", epochs=6)
    network = networks.build(model, data.prepared.shape, 4)
    fit.compile_network(network, model, len(data.train.labels))
    fit.fit(network, data, "tried", model)
    predicted = np.asarray(network(data.validation.images[:])).argmax(axis=1)
    correct = predicted == data.validation.labels
    assert not (predicted == 2).any()
    assert correct[data.validation.labels != 2].mean() >= 0.95


def test_weights_of_samples_and_classes_multiply() -> None:
    """The weight of a sample in the loss is its own weight times the weight of its class."""
    labels, own = np.array([0, 1, 1]), np.array([1, 2, 0.5], np.float32)
    weighted = make_model(class_weights=[3.0, 4.0])
    assert sample_weights(labels, weighted, 2, own) == pytest.approx([3, 8, 2])
    assert sample_weights(labels, make_model(), 2, own) == pytest.approx(own)


@pytest.mark.parametrize("kind", INVALID_WEIGHTS)
def test_invalid_weights_are_rejected(tmp_path: Path, kind: str) -> None:
    """Each kind of invalid weights has its message."""
    change, message = INVALID_WEIGHTS[kind]
    content = arrays(np.ones(SAMPLES, np.float32))
    np.savez(tmp_path / ARRAYS_FILE, allow_pickle=False, **content | {"w_train": change(content["w_train"])})
    with pytest.raises(DataError, match=message):
        read_arrays(tmp_path / ARRAYS_FILE, 10**9, weights=True)


def test_weights_must_match_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without weights or with other weights than in params.yaml is rejected."""
    content = arrays(np.ones(SAMPLES, np.float32))
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path))
    for wrong in (arrays(None), content | {"w_train": 2 * content["w_train"]}):
        np.savez(tmp_path / "patterns.npz", allow_pickle=False, **wrong)
        with pytest.raises(DataError, match="w_train"):
            fetch_arrays("patterns", dataset(content))


def test_undeclared_weights_are_ignored(tmp_path: Path) -> None:
    """An array of weights in the file is ignored if params.yaml does not declare it."""
    content = arrays(np.ones(SAMPLES, np.float32))
    np.savez(tmp_path / ARRAYS_FILE, allow_pickle=False, **content)
    assert set(read_arrays(tmp_path / ARRAYS_FILE, 10**9).by_name()) == {"x_train", "y_train", "x_test", "y_test"}
