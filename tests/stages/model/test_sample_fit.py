"""Models for what is no image: each key that does not suit the data is refused before any stage runs."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from stages.base.sample_kinds import Kind
from stages.model.config import Model
from stages.model.feasibility import feasibility_errors

REQUIRED = {"cnn": {"filters": [4]}, "conv1d": {"filters": [4]}, "recurrent": {"recurrent_units": [4]}}
COMMON = {"units": [4], "optimizer": {"name": "adam"}, "batch_size": 8, "epochs": 1}


def errors(network: str, kind: Kind, size: list[int] | None = None, **changes: Any) -> list[str]:
    """Returns the sentences about such a model."""
    section = {"network": network, **REQUIRED.get(network, {}), **COMMON, **changes}
    model: Model = TypeAdapter(Model).validate_python(section)
    return feasibility_errors(model, size, 3, kind)


@pytest.mark.parametrize(
    ("network", "kind", "changes"),
    [
        ("dense", "vector", {"form": "functional", "skip": True}),
        ("dense", "sequence", {}),
        ("recurrent", "sequence", {}),
        ("conv1d", "sequence", {"size": [6, 2]}),
        ("dense", "tokens", {"embedding": 8, "size": [1]}),
        ("recurrent", "tokens", {"embedding": 8}),
        ("conv1d", "tokens", {"embedding": 8, "size": [6]}),
        ("cnn", "image", {}),
    ],
)
def test_networks_for_each_kind(network: str, kind: Kind, changes: dict[str, Any]) -> None:
    """Dense networks take every kind of samples; recurrent and 1D convolutional ones sequences and tokens too."""
    assert errors(network, kind, **changes) == []


@pytest.mark.parametrize(
    ("network", "kind", "changes", "message"),
    [
        ("cnn", "vector", {}, "`network: cnn` takes images, but the data set has vectors; choose dense"),
        ("cnn", "tokens", {}, "but the data set has token sequences; choose dense or recurrent or conv1d"),
        ("recurrent", "vector", {}, "`network: recurrent` takes images or sequences or token sequences, but"),
        ("conv1d", "vector", {}, "but the data set has vectors; choose dense"),
        ("dense", "vector", {"augmentation": {"shift": 0.1}}, "`augmentation` is for images, but the data set has"),
        ("dense", "sequence", {"test_time_augmentation": {"shift": 0.1}}, "`test_time_augmentation` is for images"),
        ("dense", "tokens", {}, "needs `embedding`, the number of features that each token is turned into"),
        ("dense", "vector", {"embedding": 8}, "`embedding` is for tokens, but the data set has vectors; remove it"),
        ("recurrent", "image", {"embedding": 8}, "`embedding` is for tokens, but the data set has images"),
        ("conv1d", "sequence", {"size": [3, 2]}, "sequences of 3 steps are too short: nothing is left after"),
        ("conv1d", "tokens", {"size": [3], "embedding": 8}, "token sequences of 3 steps are too short: nothing is"),
    ],
)
def test_keys_that_do_not_suit(network: str, kind: Kind, changes: dict[str, Any], message: str) -> None:
    """A model that does not suit the samples gets one sentence."""
    (error,) = errors(network, kind, **changes)
    assert message in error
