"""Random rotation, zoom, shift and elastic distortion of training images, as one Keras layer."""

import math
from typing import Any

import keras
from keras import ops

from stages.model.augmentation_config import Augmentation

CONTROL_POINTS = 4  # per side of the coarse grid of random displacements in an elastic distortion


class Distortion(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type hints
    """Rotates, zooms, shifts and elastically distorts each image of a training batch at random, in one resampling.

    Interpolation is bilinear; coordinates outside the image take the nearest pixel of the edge. An elastic distortion
    displaces the control points of a coarse grid and interpolates the displacement of each pixel (bicubic). Elastic
    distortions of handwriting come from Simard, Steinkraus and Platt (2003, doi 10.1109/ICDAR.2003.1227801), the
    coarse grid from Ronneberger, Fischer and Brox (2015, arXiv 1505.04597).
    """

    def __init__(self, augmentation: Augmentation, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.augmentation = augmentation
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Returns the images (n, h, w, c): distorted if `training`, else unchanged."""
        if not training:
            return images
        height, width = images.shape[1:3]
        limits = (
            math.radians(self.augmentation.rotation),
            self.augmentation.zoom,
            self.augmentation.shift,
            self.augmentation.shift,
        )
        angle, zoom, down, right = (self._uniform(images, limit) for limit in limits)
        transforms = affine_transforms(angle, 1 + zoom, down * height, right * width, (height, width))
        if not self.augmentation.elastic:  # TensorFlow has one kernel for affine transforms
            return ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="nearest")
        return resample(images, source_coordinates(transforms, (height, width)) + self._displacements(images))

    def _uniform(self, images: Any, limit: float, *shape: int) -> Any:
        """Returns random numbers from -limit to limit, (n, *shape): independent ones for each of the n images."""
        return keras.random.uniform((ops.shape(images)[0], *shape), -limit, limit, seed=self.generator)

    def _displacements(self, images: Any) -> Any:
        """Returns the elastic displacement of each pixel in pixels, y and x, (n, h, w, 2)."""
        size = images.shape[1:3]
        grid = self._uniform(images, self.augmentation.elastic, CONTROL_POINTS, CONTROL_POINTS, 2)
        return ops.image.resize(
            grid * ops.cast(size, "float32"), size, interpolation="bicubic", data_format="channels_last"
        )


def affine_transforms(angle: Any, scale: Any, down: Any, right: Any, size: tuple[int, int]) -> Any:
    """Returns affine transforms (n, 8) in the format of `keras.ops.image.affine_transform`.

    Args:
        angle: rotation around the centre in radians (n,), clockwise as the image is displayed.
        scale: (n,), above 1 enlarges.
        down: shift in pixels (n,).
        right: shift in pixels (n,).
        size: height and width of the images, in pixels.
    """
    centre_y, centre_x = ((side - 1) / 2 for side in size)
    cos, sin, zero = ops.cos(angle) / scale, ops.sin(angle) / scale, ops.zeros_like(angle)
    # A transform maps output to input coordinates: it undoes the shift, then the rotation around the centre.
    offset_x = centre_x - cos * (centre_x + right) - sin * (centre_y + down)
    offset_y = centre_y + sin * (centre_x + right) - cos * (centre_y + down)
    return ops.stack([cos, sin, offset_x, -sin, cos, offset_y, zero, zero], axis=1)


def source_coordinates(transforms: Any, size: tuple[int, int]) -> Any:
    """Returns the input coordinates of each output pixel, y and x in pixels, (n, h, w, 2).

    Args:
        transforms: (n, 8), from `affine_transforms`.
        size: height and width of the images, in pixels.
    """
    y, x = ops.meshgrid(*(ops.arange(side, dtype="float32") for side in size), indexing="ij")
    a, b, c, d, e, f = ops.unstack(transforms[:, :6, None, None], axis=1)
    return ops.stack([d * x + e * y + f, a * x + b * y + c], axis=-1)


def resample(images: Any, coordinates: Any) -> Any:
    """Returns images (n, h, w, c) sampled from `images` at `coordinates`: y and x in pixels, (n, h, w, 2)."""

    def resample_image(image_and_coordinates: tuple[Any, Any]) -> Any:
        image, points = image_and_coordinates
        points = ops.moveaxis(points, -1, 0)
        channels = [
            ops.image.map_coordinates(image[..., channel], points, order=1, fill_mode="nearest")
            for channel in range(image.shape[-1])
        ]
        return ops.stack(channels, axis=-1)

    return ops.vectorized_map(resample_image, (images, coordinates))
