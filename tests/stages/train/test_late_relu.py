"""ReLU behind the pooling gives the same bits as ReLU before it."""

from typing import Any

import numpy as np
import pytest

from tests.support.learning import CLASSES, make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly
tf = pytest.importorskip("tensorflow")

from stages.train import networks  # noqa: E402  (imports Keras)
from stages.train.backends.late_relu import PoolingWithRelu, with_late_relu  # noqa: E402  (the same)
from stages.train.backends.tensorflow_loop import TensorFlowLoop  # noqa: E402  (the same)
from stages.train.fit import compile_network  # noqa: E402  (the same)

SHAPE, SAMPLES = (14, 12, 1), 64
SGD = {"name": "sgd", "momentum": 0.9}  # has variables, as Adam has, and is traced sooner
CHANGES: list[dict[str, Any]] = [
    {},
    {"form": "functional", "pool_dropout": 0.2, "padding": "same"},
    {"batch_normalisation": True, "repeat": 2, "padding": "same"},
]


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        pytest.param(changes, policy, marks=() if number == place else pytest.mark.farm)
        for number, changes in enumerate(CHANGES)
        for place, policy in enumerate(("float32", "mixed_bfloat16"))
    ],
)
def test_training_has_the_same_bits(changes: dict[str, Any], policy: str) -> None:
    """Weights, optimizer and statistics after some steps are the same bytes; the network to export has them too."""
    model = make_model("cnn", filters=[4, 8], units=[8], batch_size=8, optimizer=SGD, **changes)
    random = np.random.default_rng(0)
    images = random.normal(size=(SAMPLES, *SHAPE)).astype(np.float32)
    images[::2] = np.round(images[::2])  # equal pixels: windows without a single largest value
    labels = random.integers(0, CLASSES, SAMPLES).astype(np.int32)

    def train(*, late: bool) -> list[Any]:
        network = networks.build(model, SHAPE, CLASSES, policy)
        config = network.get_config()
        trained = with_late_relu(network) if late else network
        assert sum(isinstance(layer, PoolingWithRelu) for layer in trained.layers) == (2 if late else 0)
        compile_network(trained, model, SAMPLES)
        loop = TensorFlowLoop(trained)
        assert loop.train(loop.to_device([images, labels]), np.arange(SAMPLES, dtype=np.int32).reshape(-1, 8)) is None
        assert network.get_config() == config
        return [np.asarray(value) for value in (*network.weights, *trained.optimizer.variables)]

    for early, late in zip(train(late=False), train(late=True), strict=True):
        assert early.tobytes() == late.tobytes()


def test_relu_that_others_read_stays_before_the_pooling() -> None:
    """The training model is the network itself if another layer, or the caller, reads the values after ReLU too."""
    images = keras.Input(SHAPE)
    values = keras.layers.Conv2D(4, 3, activation="relu", padding="same")(images)
    pooled = keras.layers.MaxPooling2D()(values)
    means = keras.layers.AveragePooling2D(2)(values)
    for outputs in (keras.layers.Add()([pooled, means]), [pooled, values]):
        network = keras.Model(images, outputs)
        assert with_late_relu(network) is network


def test_other_activations_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with another activation is returned unchanged, and on a GPU each network."""
    assert with_late_relu(tanh := networks.build(make_model("cnn", activation="tanh"), (28, 28, 1), CLASSES)) is tanh
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["one"])
    assert with_late_relu(relu := networks.build(make_model("cnn"), (28, 28, 1), CLASSES)) is relu
