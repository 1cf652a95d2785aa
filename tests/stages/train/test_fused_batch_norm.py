"""The fused batch normalisation computes the same as Keras's layer."""

from typing import Any

import numpy as np
import pytest

from tests.support.learning import CLASSES, make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly
tf = pytest.importorskip("tensorflow")

from stages.train import networks  # noqa: E402  (imports Keras)
from stages.train.backends.fused_batch_norm import FusedBatchNormalization, with_fused_batch_norm  # noqa: E402  (the same)

SHAPE = (12, 14, 1)


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.02)])
def test_fused_layer_equals_keras_layer(policy: str, tolerance: float) -> None:
    """Outputs, gradients and moving statistics are equal, in training and in inference."""
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(3, 2, (2, 3, 4, 5)), policy.removeprefix("mixed_"))
    weights = random.normal(size=(4, 5)) ** 2  # gamma, beta, moving mean and variance

    def layer() -> Any:
        plain = keras.layers.BatchNormalization(momentum=0.5, epsilon=0.1, dtype=policy)
        plain.build(images.shape)
        plain.set_weights(list(weights))
        return plain

    def train_step(layer: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            values = layer(images, training=True)
            loss = tf.reduce_sum(tf.cast(values, "float32") ** 3)
        gradients = tape.gradient(loss, [images, *layer.trainable_variables])
        return [values, *gradients, *layer.non_trainable_variables, layer(images, training=False)]

    plain = layer()
    for expected, actual in zip(train_step(plain), train_step(FusedBatchNormalization(layer())), strict=True):
        assert actual.dtype == expected.dtype
        size = np.abs(np.asarray(expected, np.float32)).max()
        assert np.allclose(np.asarray(actual, np.float32), np.asarray(expected, np.float32), atol=tolerance * size)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The GPUs visible to TensorFlow: those that a test adds."""
    visible = list[str]()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: visible)
    return visible


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("form", ["sequential", "functional"])
def test_layers_of_images_are_fused(form: str) -> None:
    """The training model shares the weights of the network, which is unchanged; dense layers keep Keras's layer."""
    model = make_model("cnn", repeat=2, padding="same", batch_normalisation=True, units=[8], form=form)
    network = networks.build(model, SHAPE, CLASSES)
    before = [layer.name for layer in network.layers]
    trained = with_fused_batch_norm(network)
    fused = [layer for layer in trained.layers if isinstance(layer, FusedBatchNormalization)]
    assert len(fused) == sum(isinstance(layer, keras.layers.Conv2D) for layer in network.layers) > 1
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in trained.layers) == 1
    assert [layer.name for layer in network.layers] == before
    assert {id(weight) for weight in trained.weights} == {id(weight) for weight in network.weights}


@pytest.mark.usefixtures("gpus")
def test_network_without_images_to_normalise() -> None:
    """A network that does not normalise images is returned unchanged."""
    network = networks.build(make_model("dense", batch_normalisation=True), SHAPE, CLASSES)
    assert with_fused_batch_norm(network) is network


def test_network_on_a_gpu(gpus: list[str]) -> None:
    """On a GPU, where the kernel was not measured, the network is returned unchanged."""
    gpus.append("one")
    network = networks.build(make_model("cnn", batch_normalisation=True), SHAPE, CLASSES)
    assert with_fused_batch_norm(network) is network
