"""Test-time augmentation: a network that looks at an image in several ways, and gives the mean of what it says."""

import functools
import math
import operator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from stages.model.config import TestTimeAugmentation
from stages.train.augmentation import matrices, origins


class View(NamedTuple):
    """How an image is changed: as the arguments of `augmentation.matrices`, the shifts as shares of its sides."""

    angle: float = 0.0
    scale: float = 1.0
    down: float = 0.0
    right: float = 0.0


def copies_of(chosen: TestTimeAugmentation) -> list[View]:
    """The image turned either way, smaller and larger, moved each way."""
    angle, zoom, shift = math.radians(chosen.rotation), chosen.zoom, chosen.shift
    turned = [View(angle=-angle), View(angle=angle)] if angle else []
    zoomed = [View(scale=1 - zoom), View(scale=1 + zoom)] if zoom else []
    moved = [View(down=-shift), View(down=shift), View(right=-shift), View(right=shift)] if shift else []
    return [*turned, *zoomed, *moved]


def with_views(network: Any, chosen: TestTimeAugmentation) -> Any:
    """Keras model of the same input, output and weights: the mean of what `network` gives for an image and its copies.

    As Krizhevsky, Sutskever and Hinton averaged over ten crops (ImageNet Classification with Deep Convolutional Neural
    Networks, 2012), though of logits where the network gives these. It is made of Keras's own operations, so that its
    file opens without this module; one copy after the other, so that it needs little more memory than `network`.
    """
    images = keras.Input(network.input_shape[1:])
    seen = [images, *(resampled(images, view) for view in copies_of(chosen))]
    mean = keras.layers.Average()([network(view) for view in seen])
    return keras.Model(images, mean, name=f"{network.name}_of_views")


def resampled(images: Any, view: View) -> Any:
    """Images (n, h, w, c) changed as `view` says, by operations that any reader of a model knows."""
    height, width, channels = images.shape[1:]
    pixels = ops.reshape(images, (-1, height * width, channels))
    corners = zip(*neighbours(view, (height, width)), strict=True)
    parts = (ops.take(pixels, places, axis=1) * shares[:, np.newaxis] for places, shares in corners)
    return ops.reshape(functools.reduce(operator.add, parts), (-1, height, width, channels))


def neighbours(view: View, size: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of which four pixels, and of how much of each, the pixels of a view are made (bilinear, edges continued).

    Returns:
        Places in the image, row after row, int32 (4, height * width), and their shares, float32 of that shape.
    """
    angle, scale, down, right = np.array(view, np.float32)[:, np.newaxis]
    changes = matrices(angle, scale, down * size[0], right * size[1], size)
    origin = np.asarray(ops.convert_to_numpy(origins(changes, size)), np.float64).reshape(-1, 2)
    last = np.array(size) - 1
    inside = np.clip(origin, 0, last)
    first = np.floor(inside).astype(np.int32)
    further = inside - first
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    places = [np.minimum(first + corner, last) @ [size[1], 1] for corner in corners]
    shares = [np.where(corner, further, 1 - further).prod(axis=-1) for corner in corners]
    return np.array(places, np.int32), np.array(shares, np.float32)
