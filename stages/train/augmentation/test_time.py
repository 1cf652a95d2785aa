"""Test-time augmentation: a network that averages its outputs over an image and transformed copies of it."""

import functools
import math
import operator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from stages.model.augmentation_config import TestTimeAugmentation
from stages.train.augmentation.distortion import affine_transforms, source_coordinates

AUGMENTED = "_of_views"  # at the end of the name of a network that averages over views


class View(NamedTuple):
    """A transform of an image: the arguments of `affine_transforms`, with the shifts as fractions of its sides."""

    angle: float = 0.0
    scale: float = 1.0
    down: float = 0.0
    right: float = 0.0


def augmented_views(augmentation: TestTimeAugmentation) -> list[View]:
    """Returns the views beside the image itself: rotated either way, smaller and larger, shifted in each direction."""
    angle, zoom, shift = math.radians(augmentation.rotation), augmentation.zoom, augmentation.shift
    rotated = [View(angle=-angle), View(angle=angle)] if angle else []
    zoomed = [View(scale=1 - zoom), View(scale=1 + zoom)] if zoom else []
    shifted = [View(down=-shift), View(down=shift), View(right=-shift), View(right=shift)] if shift else []
    return [*rotated, *zoomed, *shifted]


def with_test_time_augmentation(network: Any, augmentation: TestTimeAugmentation) -> Any:
    """Returns a Keras model with the input, output and weights of `network` that averages over the views of an image.

    Krizhevsky, Sutskever and Hinton averaged over ten crops (ImageNet Classification with Deep Convolutional Neural
    Networks, 2012). Here the outputs are averaged, which are logits if the network's output is logits. The model has
    only Keras's own operations, so that its file loads without this module. It computes one view after the other, so
    that it needs little more memory than `network`.
    """
    images = keras.Input(network.input_shape[1:])
    views = [images, *(transform(images, view) for view in augmented_views(augmentation))]
    mean = keras.layers.Average()([network(view) for view in views])
    return keras.Model(images, mean, name=network.name + AUGMENTED)


def transform(images: Any, view: View) -> Any:
    """Returns images (n, h, w, c) transformed by `view`, with operations that every format of a model supports."""
    height, width, channels = images.shape[1:]
    pixels = ops.reshape(images, (-1, height * width, channels))
    neighbours = zip(*bilinear_neighbours(view, (height, width)), strict=True)
    terms = (ops.take(pixels, indices, axis=1) * weights[:, np.newaxis] for indices, weights in neighbours)
    return ops.reshape(functools.reduce(operator.add, terms), (-1, height, width, channels))


def bilinear_neighbours(view: View, size: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns the four input pixels of each output pixel and their weights: bilinear, with the nearest pixel outside.

    Returns:
        Indices into the flattened image, int32 (4, height * width), and the weights, float32 of the same shape.
    """
    angle, scale, down, right = np.array(view, np.float32)[:, np.newaxis]
    transforms = affine_transforms(angle, scale, down * size[0], right * size[1], size)
    coordinates = np.asarray(ops.convert_to_numpy(source_coordinates(transforms, size)), np.float64).reshape(-1, 2)
    last = np.array(size) - 1
    inside = np.clip(coordinates, 0, last)
    first = np.floor(inside).astype(np.int32)
    fraction = inside - first
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    indices = [np.minimum(first + corner, last) @ [size[1], 1] for corner in corners]
    weights = [np.where(corner, fraction, 1 - fraction).prod(axis=-1) for corner in corners]
    return np.array(indices, np.int32), np.array(weights, np.float32)
