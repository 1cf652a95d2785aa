"""Builds the training model: the network behind its augmentation layer, with fused kernels if the backend has them."""

from typing import Any

import keras

from stages.model.config import Model
from stages.train.augmentation.distortion import Distortion
from stages.train.backends.backend import load_backend


def build_training_model(network: Any, model: Model) -> Any:
    """Returns the model to compile and fit; it shares the weights of `network`, which is the model to export.

    The random numbers of the augmentation come from a `keras.random.SeedGenerator` with the model's seed. Its state is
    one of the `variables` of the returned model, like those of Dropout: an exact checkpoint must contain it.
    """
    is_known = model.network != "custom"  # an own network may use layers in ways that the kernels do not expect
    trained = load_backend().with_fused_kernels(network) if is_known else network
    if model.augmentation is None:
        return trained
    images = keras.Input(network.input_shape[1:], name="images")
    distorted = Distortion(model.augmentation, model.seed, name="augmentation", dtype="float32")(images)
    return keras.Model(images, trained(distorted), name=f"training_{network.name}")
