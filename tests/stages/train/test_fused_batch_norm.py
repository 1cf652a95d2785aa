"""Kernels that are faster than Keras's own do what Keras does."""

from typing import Any

import numpy as np
import pytest

from tests.support.learning import CLASSES, make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly
tf = pytest.importorskip("tensorflow")

from stages.train import networks  # noqa: E402  (imports Keras)
from stages.train.backends.fused_batch_norm import FusedNormalisation, with_fused_normalisation  # noqa: E402  (the same)

SHAPE = (12, 14, 1)


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.02)])
def test_normalisation_is_that_of_keras(policy: str, tolerance: float) -> None:
    """Values, gradients and what is followed for later, while it learns and afterwards."""
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(3, 2, (2, 3, 4, 5)), policy.removeprefix("mixed_"))
    weights = random.normal(size=(4, 5)) ** 2  # gamma, beta, moving mean and variance

    def layer() -> Any:
        plain = keras.layers.BatchNormalization(momentum=0.5, epsilon=0.1, dtype=policy)
        plain.build(images.shape)
        plain.set_weights(list(weights))
        return plain

    def taught(layer: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            values = layer(images, training=True)
            loss = tf.reduce_sum(tf.cast(values, "float32") ** 3)
        gradients = tape.gradient(loss, [images, *layer.trainable_variables])
        return [values, *gradients, *layer.non_trainable_variables, layer(images, training=False)]

    plain = layer()
    for expected, found in zip(taught(plain), taught(FusedNormalisation(layer())), strict=True):
        assert found.dtype == expected.dtype
        size = np.abs(np.asarray(expected, np.float32)).max()
        assert np.allclose(np.asarray(found, np.float32), np.asarray(expected, np.float32), atol=tolerance * size)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The GPUs that TensorFlow sees: none but those that a test adds."""
    found = list[str]()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: found)
    return found


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("form", ["sequential", "functional"])
def test_fused_where_images_are_normalised(form: str) -> None:
    """The learner has the weights of the network, which stays as it was; dense layers keep Keras's own."""
    model = make_model("cnn", repeat=2, padding="same", batch_normalisation=True, units=[8], form=form)
    network = networks.build(model, SHAPE, CLASSES)
    before = [layer.name for layer in network.layers]
    learner = with_fused_normalisation(network)
    fused = [layer for layer in learner.layers if isinstance(layer, FusedNormalisation)]
    assert len(fused) == sum(isinstance(layer, keras.layers.Conv2D) for layer in network.layers) > 1
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in learner.layers) == 1
    assert [layer.name for layer in network.layers] == before
    assert {id(weight) for weight in learner.weights} == {id(weight) for weight in network.weights}


@pytest.mark.usefixtures("gpus")
def test_nothing_to_fuse() -> None:
    """A network whose images are not normalised learns as it is."""
    network = networks.build(make_model("dense", batch_normalisation=True), SHAPE, CLASSES)
    assert with_fused_normalisation(network) is network


def test_as_it_is_on_a_gpu(gpus: list[str]) -> None:
    """Where nobody measured the kernel."""
    gpus.append("one")
    network = networks.build(make_model("cnn", batch_normalisation=True), SHAPE, CLASSES)
    assert with_fused_normalisation(network) is network
