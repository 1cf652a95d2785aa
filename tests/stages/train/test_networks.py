"""Networks have the layers that params.yaml describes, and initial weights from their seed."""

from typing import Any

import numpy as np
import pytest

from stages.params.schema import load_params
from tests.support.learning import make_model
from tests.support.root import ROOT

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import networks  # noqa: E402  (imports Keras)

DENSE = [("Flatten",), ("Dense", 512, "relu"), ("Dense", 10, "softmax")]
SMALL = [("Flatten",), ("Dense", 32, "relu"), ("Dense", 32, "relu"), ("Dense", 10, "softmax")]
DROPOUT = [("Flatten",), ("Dense", 128, "relu"), ("Dropout", 0.2), ("Dense", 10, "softmax")]
CONVOLUTIONS = [
    ("Conv2D", 32, (3, 3), "relu"),
    ("MaxPooling2D", (2, 2)),
    ("Conv2D", 64, (3, 3), "relu"),
    ("MaxPooling2D", (2, 2)),
    ("Flatten",),
    ("Dense", 64, "relu"),
]
MODELS = {
    "dense": (DENSE, 407_050),
    "dense_small": (SMALL, 26_506),
    "dense_dropout": (DROPOUT, 101_770),
    "cnn_softmax": ([*CONVOLUTIONS, ("Dense", 10, "softmax")], 121_930),
    "cnn": ([*CONVOLUTIONS, ("Dense", 10, "linear")], 121_930),
}
SHOWN = ("units", "filters", "kernel_size", "pool_size", "rate", "activation")


def shown(layer: Any) -> tuple[Any, ...]:
    """Returns the class of a layer and its main options."""
    config = layer.get_config()
    return (type(layer).__name__, *(config[key] for key in SHOWN if key in config))


@pytest.mark.parametrize("name", MODELS)
def test_layers_and_parameters(name: str) -> None:
    """Each model of params.yaml has the specified layers and number of parameters."""
    network = networks.build(load_params(ROOT / "params.yaml").models[name], (28, 28, 1), 10)
    layers, parameters = MODELS[name]
    assert [shown(layer) for layer in network.layers] == layers
    assert network.count_params() == parameters
    assert network.output_shape == (None, 10)


def test_dropout_follows_each_pooling_and_precedes_the_output() -> None:
    """Each has its own rate; without hidden dense layers `dropout` applies to the features."""
    model = make_model("cnn", filters=[2, 4], units=[], pool_dropout=0.25, dropout=0.5, padding="same")
    pooling = [("MaxPooling2D", (2, 2)), ("Dropout", 0.25)]
    layers = [shown(layer) for layer in networks.build(model, (12, 14, 1), 4).layers]
    assert layers[1:3] == layers[4:6] == pooling
    assert layers[6:] == [("Flatten",), ("Dropout", 0.5), ("Dense", 4, "softmax")]


def test_seed_decides_the_initial_weights() -> None:
    """The same seed gives the same initial weights, another seed gives others."""
    one, same, other = (
        networks.build(make_model("cnn", seed=seed), (12, 14, 1), 4).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_layer_names_are_the_same_every_time() -> None:
    """Layer names, which are part of the saved file, do not depend on models built before."""
    first, second = (networks.build(make_model(), (12, 14, 1), 4) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


@pytest.mark.parametrize(
    ("activation", "values"),
    [
        ("relu", [0.0, 0.0, 2.0]),
        ("sigmoid", [1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-2))]),
        ("tanh", np.tanh([-1.0, 0.0, 2.0])),
        ("softmax", np.exp([-1.0, 0.0, 2.0]) / np.exp([-1.0, 0.0, 2.0]).sum()),
        ("none", [-1.0, 0.0, 2.0]),
    ],
)
def test_activation_computes_its_formula(activation: str, values: list[float]) -> None:
    """Each activation computes its formula."""
    hidden = networks.hidden_layers(make_model(units=[3], activation=activation))[0]
    hidden.build((None, 3))
    hidden.set_weights([np.eye(3), np.zeros(3)])
    assert np.allclose(hidden(np.array([[-1.0, 0.0, 2.0]], np.float32))[0], values, atol=1e-6)


def test_layers_without_activation_are_one_linear_map() -> None:
    """With activation none and output logits the network is an affine map."""
    model = make_model(units=[5, 6], activation="none", output="logits")
    network = networks.build(model, (2, 3, 1), 4)
    a, b = np.random.default_rng(0).normal(size=(2, 1, 2, 3, 1)).astype(np.float32)
    assert np.allclose(network(a) + network(b), network(a + b) + network(np.zeros_like(a)), atol=1e-5)
