"""What learns in the place of a network: around it the augmentation, in it the fastest kernels of the backend."""

from typing import Any

import keras

from stages.model.config import ModelBase
from stages.train.augmentation import Distortion
from stages.train.backends.backend import load_backend


def training_network(network: Any, model: ModelBase) -> Any:
    """What is to be compiled and fitted: `network` itself, or what learns faster or more by the same weights.

    Train the one, save and export the other. The randomness of the augmentation comes from a
    `keras.random.SeedGenerator` made from the model's seed, whose state is a variable of the returned network
    (among its `variables`, as are those of Dropout): a training that is to go on exactly must save it too.
    """
    learner = load_backend().with_fast_kernels(network)
    if model.augmentation is None:
        return learner
    images = keras.Input(network.input_shape[1:], name="images")
    distorted = Distortion(model.augmentation, model.seed, name="augmentation", dtype="float32")(images)
    return keras.Model(images, learner(distorted), name=f"training_{network.name}")
