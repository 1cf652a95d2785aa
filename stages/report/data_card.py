"""What the data set is like: pixels, classes, and images that occur more than once."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.data.datasets import Arrays
from stages.samples.pixels import Pixels

Images = npt.NDArray[Any]  # bytes, or floats in a stated range
CHUNK = 4096  # images at once: bounds the memory that the sums take


class ByteImages(NamedTuple):
    """Raw images (n, h, w) or (n, h, w, c), of which each comes as bytes, black 0 and white 255."""

    images: npt.NDArray[Any]
    pixels: Pixels

    def of(self, index: int) -> npt.NDArray[np.uint8]:
        """The image `index`."""
        image, (low, high) = self.images[index], (self.pixels.low, self.pixels.high)
        if image.dtype == np.uint8 and (low, high) == (0, 255):
            return np.asarray(image, np.uint8)
        share = (image.astype(np.float64) - low) / self.pixels.span
        return np.asarray(np.rint(255 * np.clip(share, 0, 1)), np.uint8)


@dataclass(frozen=True)
class PixelFacts:
    """Statistics of all pixels of a part, as they come."""

    mean: float
    deviation: float
    least: float
    most: float
    empty: float  # share of pixels that are black


@dataclass(frozen=True)
class Duplicates:
    """Images that are equal to the last pixel."""

    shared: tuple[tuple[int, int], ...]  # (test index, first equal training index)
    conflicting: int  # of `shared`: with another label
    within_training: int  # images that repeat an earlier one of their part
    within_test: int


def pixel_facts(images: Images, black: float = 0.0) -> PixelFacts:
    """Sums over `images`: of bytes exact, whole numbers until the end."""
    if images.dtype != np.uint8:
        return _float_facts(images, black)
    counts = np.zeros(256, np.int64)
    for start in range(0, len(images), CHUNK):
        counts += np.bincount(images[start : start + CHUNK].ravel(), minlength=256)
    values, total = np.arange(256), int(counts.sum())
    mean = float(values @ counts) / total
    variance = float((values - mean) ** 2 @ counts) / total
    present = np.flatnonzero(counts)
    return PixelFacts(
        mean, variance**0.5, int(present[0]), int(present[-1]), float(counts[values == black].sum() / total)
    )


def _float_facts(images: Images, black: float) -> PixelFacts:
    """In two passes, the second of squared distances from the mean."""
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    mean = sum(float(images[chunk].sum(dtype=np.float64)) for chunk in chunks) / images.size
    squares = sum(float(((images[chunk].astype(np.float64) - mean) ** 2).sum()) for chunk in chunks)
    empty = sum(int(np.count_nonzero(images[chunk] == black)) for chunk in chunks)
    return PixelFacts(
        mean, (squares / images.size) ** 0.5, float(images.min()), float(images.max()), empty / images.size
    )


def find_duplicates(arrays: Arrays) -> Duplicates:
    """Images of the test part that stand in the training part too, and repetitions in each part."""
    training, test = _keys(arrays.x_train), _keys(arrays.x_test)
    first: dict[bytes, int] = {}
    for index, key in enumerate(training):
        first.setdefault(key, index)
    shared = tuple((index, first[key]) for index, key in enumerate(test) if key in first)
    conflicting = sum(int(arrays.y_test[one]) != int(arrays.y_train[other]) for one, other in shared)
    return Duplicates(shared, conflicting, len(training) - len(first), len(test) - len(set(test)))


def _keys(images: Images) -> list[bytes]:
    """The bytes of each image: equal keys are equal images, without any chance of a collision."""
    return [image.tobytes() for image in images]
