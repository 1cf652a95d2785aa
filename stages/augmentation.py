"""Random rotation, zoom and shift of the training images: around the network that learns, never part of what ships."""

import math
from typing import Any

import keras
from keras import ops

from stages.model_params import Augmentation, ModelBase


def training_network(network: Any, model: ModelBase) -> Any:
    """What is to be compiled and fitted: `network` itself, or with the augmentation of `model` before it.

    Both have the same weights: train the one, save and export the other. The randomness comes from a
    `keras.random.SeedGenerator` made from the model's seed, whose state is a variable of the returned network
    (among its `variables`, as are those of Dropout): a training that is to go on exactly must save it too.
    """
    if model.augmentation is None:
        return network
    images = keras.Input(network.input_shape[1:], name="images")
    distorted = Distortion(model.augmentation, model.seed, name="augmentation", dtype="float32")(images)
    return keras.Model(images, network(distorted), name=f"training_{network.name}")


class Distortion(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Turns, scales and moves each image of a training batch at random, in one resampling.

    Bilinear; what comes in from outside takes the nearest pixel of the edge.
    """

    def __init__(self, chosen: Augmentation, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.chosen = chosen
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Images (n, h, w, c), changed while training and as they are otherwise."""
        if not training:
            return images
        height, width = images.shape[1:3]
        angle, zoom, down, right = (
            self._draw(images, reach)
            for reach in (self._radians, self.chosen.zoom, self.chosen.shift, self.chosen.shift)
        )
        changes = matrices(angle, 1 + zoom, down * height, right * width, (height, width))
        return ops.image.affine_transform(images, changes, interpolation="bilinear", fill_mode="nearest")

    @property
    def _radians(self) -> float:
        return math.radians(self.chosen.rotation)

    def _draw(self, images: Any, reach: float) -> Any:
        """A number from -reach to reach for each image (n,)."""
        return keras.random.uniform((ops.shape(images)[0],), -reach, reach, seed=self.generator)


def matrices(angle: Any, scale: Any, down: Any, right: Any, size: tuple[int, int]) -> Any:
    """Transforms (n, 8), as `keras.ops.image.affine_transform` takes them.

    Args:
        angle: radians (n,), clockwise as the image is seen, around its centre.
        scale: (n,), above 1 enlarges.
        down: pixels (n,).
        right: pixels (n,).
        size: height and width, in pixels.
    """
    middle_y, middle_x = ((side - 1) / 2 for side in size)
    cos, sin, zero = ops.cos(angle) / scale, ops.sin(angle) / scale, ops.zeros_like(angle)
    # The place (x, y) of a new pixel comes from the old place: back by the shift, then turned back around the centre.
    from_x = middle_x - cos * (middle_x + right) - sin * (middle_y + down)
    from_y = middle_y + sin * (middle_x + right) - cos * (middle_y + down)
    return ops.stack([cos, sin, from_x, -sin, cos, from_y, zero, zero], axis=1)
