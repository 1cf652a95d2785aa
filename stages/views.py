"""Test-time augmentation: a network that looks at an image in several ways, and gives the mean of what it says."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from stages.augmentation import matrices, origins
from stages.model_params import TestTimeAugmentation


class View(NamedTuple):
    """How an image is changed: as the arguments of `augmentation.matrices`, the shifts as shares of its sides."""

    angle: float = 0.0
    scale: float = 1.0
    down: float = 0.0
    right: float = 0.0


def views_of(chosen: TestTimeAugmentation) -> list[View]:
    """The image as it is, turned either way, smaller and larger, moved each way."""
    angle, zoom, shift = math.radians(chosen.rotation), chosen.zoom, chosen.shift
    turned = [View(angle=-angle), View(angle=angle)] if angle else []
    zoomed = [View(scale=1 - zoom), View(scale=1 + zoom)] if zoom else []
    moved = [View(down=-shift), View(down=shift), View(right=-shift), View(right=shift)] if shift else []
    return [View(), *turned, *zoomed, *moved]


def with_views(network: Any, chosen: TestTimeAugmentation) -> Any:
    """Keras model of the same input, output and weights: the mean of what `network` gives for each view of an image.

    As Krizhevsky, Sutskever and Hinton averaged over ten crops (ImageNet Classification with Deep Convolutional Neural
    Networks, 2012), though of logits where the network gives these. It is made of Keras's own operations, so that its
    file opens without this module; one view after the other, so that it needs little more memory than `network`.
    """
    shape = tuple(network.input_shape[1:])
    images = keras.Input(shape)
    pixels = ops.reshape(images, (-1, shape[0] * shape[1], shape[2]))
    _, *others = zip(*neighbours(views_of(chosen), (shape[0], shape[1])), strict=True)  # the first is the image
    seen = [images, *(ops.reshape(resampled(pixels, *other), (-1, *shape)) for other in others)]
    mean = keras.layers.Average()([network(view) for view in seen])
    return keras.Model(images, mean, name=f"{network.name}_of_views")


def resampled(pixels: Any, places: NDArray[np.int32], shares: NDArray[np.float32]) -> Any:
    """One view, pixels (n, height * width, c), of `pixels` of that shape; the others as of `neighbours`."""
    total, *parts = (
        ops.take(pixels, place, axis=1) * share[:, np.newaxis] for place, share in zip(places.T, shares.T, strict=True)
    )
    for part in parts:
        total = total + part
    return total


def neighbours(views: list[View], size: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of which pixels, and of how much of each, the pixels of each view are made (bilinear, edges continued).

    Returns:
        Places in the image, row after row, int32 (views, height * width, 4), and their shares, float32 of that shape.
    """
    angle, scale, down, right = np.array(views, np.float32).T
    changes = matrices(angle, scale, down * size[0], right * size[1], size)
    origin = np.asarray(ops.convert_to_numpy(origins(changes, size)), np.float64).reshape(len(views), -1, 2)
    last = np.array(size) - 1
    inside = np.clip(origin, 0, last)
    first = np.floor(inside).astype(np.int32)
    further = inside - first
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    places = [np.minimum(first + corner, last) @ [size[1], 1] for corner in corners]
    shares = [np.where(corner, further, 1 - further).prod(axis=-1) for corner in corners]
    return np.stack(places, axis=-1).astype(np.int32), np.stack(shares, axis=-1).astype(np.float32)
