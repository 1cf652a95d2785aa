"""Vectors, sequences and tokens in a data set: what is read, and what is refused with a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.base.errors import DataError
from stages.base.sample_kinds import Kind
from stages.data.config import Dataset
from stages.data.datasets import (
    Arrays,
    check_shape_and_range,
    describe,
    open_part,
    read_arrays,
    read_dataset,
    read_description,
    write_dataset,
)
from tests.support.tiny_data import save

LIMIT = 1_000_000
VECTORS = np.linspace(-1, 1, 40 * 6).reshape(40, 6)
SERIES = VECTORS.astype(np.float32).reshape(40, 3, 2)
TOKENS = (np.arange(40 * 5) % 9).reshape(40, 5)
KINDS: dict[Kind, Any] = {"vector": VECTORS, "sequence": SERIES, "tokens": TOKENS}


def dataset(kind: str, **changes: Any) -> Dataset:
    """Returns the section of a data set in params.yaml."""
    vocabulary = {"vocabulary": 9} if kind == "tokens" else {}
    source = {
        "url": "http://localhost/x.npz",
        "sha256": dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), "0" * 64),
    }
    return Dataset.model_validate({"title": "X", "kind": kind, **source, **vocabulary, **changes})


def arrays_of(path: Path, kind: Kind, samples: Any) -> Arrays:
    """Returns the data set with these samples in both parts, from a file."""
    file = save(path / "x.npz", {"x_train": samples, "x_test": samples[:12]})
    return read_arrays(file, LIMIT, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_every_kind_are_written_and_read_back(tmp_path: Path, kind: Kind) -> None:
    """dataset.npz and dataset.json have the samples as they were, and their kind."""
    arrays = arrays_of(tmp_path, kind, KINDS[kind])
    check_shape_and_range(arrays, dataset(kind, shape=list(KINDS[kind].shape[1:])))
    write_dataset(tmp_path, arrays, describe("x", dataset(kind), arrays))
    description = read_description(tmp_path / "dataset.json")
    assert (description.kind, description.vocabulary) == (kind, 9 if kind == "tokens" else None)
    assert np.array_equal(read_dataset(tmp_path / "dataset.npz", kind=kind).x_train, KINDS[kind])
    with open_part(tmp_path / "dataset.npz", "test", kind) as (samples, labels):
        assert (samples.shape[0], samples.dtype) == (len(labels), KINDS[kind].dtype)


@pytest.mark.parametrize(
    ("kind", "samples", "message"),
    [
        ("vector", SERIES, r"x_train has shape \(40, 3, 2\), expected \(n, features\), because `kind` is vector"),
        ("sequence", VECTORS, r"expected \(n, steps, features\)"),
        ("tokens", TOKENS.astype(float), "has the type float64, expected integers, because `kind` is tokens"),
        ("tokens", TOKENS[:, 0], r"has shape \(40,\), expected \(n, steps\), .*; pad sequences of different lengths"),
        ("tokens", np.array([[1, 2], [1]] * 20, object), "never loaded; save one array of numbers, .*pad_sequences"),
        ("vector", VECTORS.astype("U8"), "has the type <U8, expected numbers"),
        ("vector", VECTORS[:, :0], r"vectors of a wrong size: got \[0\], expected \[features\] of at least 1"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, kind: Kind, samples: Any, message: str) -> None:
    """An array whose shape or type does not suit the kind is refused; ragged ones with how to pad them."""
    with pytest.raises(DataError, match=message):
        arrays_of(tmp_path, kind, samples)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("vector", np.nan, r"x_train has a value that is not a number \(NaN\)"),
        ("sequence", np.inf, "x_train has values from .* to inf, expected finite numbers"),
        ("vector", 1e39, r"expected finite numbers of at most 1e\+30"),
        ("tokens", 9, "x_train has the token 9, expected 0 to 8, below `vocabulary`; raise it, or replace rare tokens"),
        ("tokens", -1, "x_train has the token -1, expected 0 to 8"),
    ],
)
def test_values_that_no_network_can_take_are_refused(tmp_path: Path, kind: Kind, value: float, message: str) -> None:
    """A feature that is not finite in float32, or a token outside of the vocabulary, is refused."""
    samples = KINDS[kind].copy()
    samples.reshape(-1)[7] = value
    with pytest.raises(DataError, match=message):
        check_shape_and_range(arrays_of(tmp_path, kind, samples), dataset(kind))


def test_shape_in_params_is_compared(tmp_path: Path) -> None:
    """A file whose samples have another shape than params.yaml says is refused."""
    with pytest.raises(DataError, match=r"x_train has vectors of shape \(6,\), but `shape` is \[7\]"):
        check_shape_and_range(arrays_of(tmp_path, "vector", VECTORS), dataset("vector", shape=[7]))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("vector", {"shape": [8, 8]}, r"got \[8, 8\], expected \[features\] of at least 1"),
        ("sequence", {"shape": [100_000, 100]}, "together at most 4,000,000 values"),
        ("image", {"shape": [64]}, r"got \[64\], expected \[height, width\]"),
        ("tokens", {"vocabulary": None}, "needs `vocabulary`, the number of tokens, because `kind` is tokens"),
        ("vector", {"vocabulary": 9}, "has `vocabulary`, which needs `kind: tokens`, got vector; remove it"),
        ("sequence", {"pixels": {}}, "has `pixels`, which needs `kind: image`, got sequence; remove it"),
        ("vector", {"embedded": "digits", "url": None, "sha256": None}, "has `embedded`, which needs `kind: image`"),
        ("picture", {}, "Input should be 'image', 'vector', 'sequence' or 'tokens'"),
    ],
)
def test_mistakes_in_params(kind: str, changes: dict[str, Any], message: str) -> None:
    """Keys of one kind are refused for the others."""
    with pytest.raises(ValidationError, match=message):
        dataset(kind, **changes)


def test_mistake_in_kind_is_said_once() -> None:
    """A wrong kind says nothing about the shape, which may be right for the kind that was meant."""
    with pytest.raises(ValidationError, match="1 validation error"):
        dataset("vectors", shape=[64])
