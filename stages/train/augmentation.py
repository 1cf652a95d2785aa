"""Random rotation, zoom, shift and bend of the training images; what ships has none of it."""

import math
from typing import Any

import keras
from keras import ops

from stages.model.config import Augmentation

KNOTS = 4  # along each side: the places whose random moves a bend goes through


class Distortion(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Turns, scales, moves and bends each image of a training batch at random, in one resampling.

    Bilinear; what comes in from outside takes the nearest pixel of the edge. A bend moves the knots of a coarse grid
    and all pixels between them smoothly (bicubic). Such elastic distortions of handwriting come from Simard, Steinkraus
    and Platt (2003, doi 10.1109/ICDAR.2003.1227801), the coarse grid from Ronneberger, Fischer and Brox (2015,
    arXiv 1505.04597).
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
        if not self.chosen.elastic:  # TensorFlow has one kernel for all that keeps lines straight
            return ops.image.affine_transform(images, changes, interpolation="bilinear", fill_mode="nearest")
        return resample(images, origins(changes, (height, width)) + self._bend(images))

    @property
    def _radians(self) -> float:
        return math.radians(self.chosen.rotation)

    def _draw(self, images: Any, reach: float, *shape: int) -> Any:
        """A number from -reach to reach for each image (n,), or so many of this shape (n, *shape)."""
        return keras.random.uniform((ops.shape(images)[0], *shape), -reach, reach, seed=self.generator)

    def _bend(self, images: Any) -> Any:
        """How far from its place each pixel is taken: below and to the right, in pixels (n, h, w, 2)."""
        size = images.shape[1:3]
        knots = self._draw(images, self.chosen.elastic, KNOTS, KNOTS, 2) * ops.cast(size, "float32")
        return ops.image.resize(knots, size, interpolation="bicubic", data_format="channels_last")


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


def origins(changes: Any, size: tuple[int, int]) -> Any:
    """Where each pixel of the new images comes from: y and x in the old ones, in pixels (n, h, w, 2).

    Args:
        changes: transforms (n, 8), as of `matrices`.
        size: height and width, in pixels.
    """
    y, x = ops.meshgrid(*(ops.arange(side, dtype="float32") for side in size), indexing="ij")
    a, b, c, d, e, f = ops.unstack(changes[:, :6, None, None], axis=1)
    return ops.stack([d * x + e * y + f, a * x + b * y + c], axis=-1)


def resample(images: Any, places: Any) -> Any:
    """Images (n, h, w, c) whose pixels are taken from `places` in the given ones: y and x, in pixels (n, h, w, 2)."""

    def one(given: tuple[Any, Any]) -> Any:
        image, place = given
        where = ops.moveaxis(place, -1, 0)
        channels = (image[..., number] for number in range(image.shape[-1]))
        taken = [ops.image.map_coordinates(channel, where, order=1, fill_mode="nearest") for channel in channels]
        return ops.stack(taken, axis=-1)

    return ops.vectorized_map(one, (images, places))
