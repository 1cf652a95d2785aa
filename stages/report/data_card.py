"""Facts about the data set: description, pixel statistics, class counts and duplicate images."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.data.config import Dataset
from stages.data.data_warnings import ImageScan, label_warnings
from stages.data.datasets import Arrays, Description
from stages.report.records import Preparation
from stages.report.statistics.intervals import Labels
from stages.samples.pixels import Pixels

Images = npt.NDArray[Any]  # bytes, or floats in a stated range
CHUNK = 4096  # images processed at once, which bounds the memory


class ByteImages(NamedTuple):
    """Raw images (n, h, w) or (n, h, w, c) that are read as bytes, black 0 and white 255."""

    images: Images
    pixels: Pixels

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns the image `index` as uint8."""
        image, (low, high) = self.images[index], (self.pixels.low, self.pixels.high)
        if image.dtype == np.uint8 and (low, high) == (0, 255):
            return np.asarray(image, np.uint8)
        share = (image.astype(np.float64) - low) / self.pixels.span
        return np.asarray(np.rint(255 * np.clip(share, 0, 1)), np.uint8)


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of all raw pixels of a part."""

    mean: float
    deviation: float
    minimum: float
    maximum: float
    black: float  # share of pixels that are black


@dataclass(frozen=True)
class Duplicates:
    """Images that are equal in every pixel."""

    shared: tuple[tuple[int, int], ...]  # (test index, first equal training index)
    conflicting: int  # number of `shared` pairs with different labels
    within_training: int  # images that repeat an earlier one of their part
    within_test: int


@dataclass(frozen=True)
class Data:
    """The data set that the models were trained and evaluated on; `arrays` are the raw ones."""

    description: Description
    prepared: Preparation
    arrays: Arrays
    source: Dataset

    def has_same_test_part(self, other: "Data") -> bool:
        """Returns whether the raw test samples and labels are those of `other`: equal labels alone do not say so."""
        parts = ((self.arrays.x_test, other.arrays.x_test), (self.arrays.y_test, other.arrays.y_test))
        return all(np.array_equal(own, others) for own, others in parts)

    def has_same_training_part(self, other: "Data") -> bool:
        """Returns whether the raw training samples and labels are those of `other`, and as many of them held out.

        Where whole groups were held out, the groups are the same too.
        """
        if self.prepared.samples != other.prepared.samples or self.prepared.groups != other.prepared.groups:
            return False
        if self.prepared.groups and self.source.groups != other.source.groups:
            return False
        parts = ((self.arrays.x_train, other.arrays.x_train), (self.arrays.y_train, other.arrays.y_train))
        return all(np.array_equal(own, others) for own, others in parts)

    def class_counts(self, labels: Labels) -> list[int]:
        """Returns the number of `labels` of each class."""
        return [int(number) for number in np.bincount(labels, minlength=self.description.classes)]

    @property
    def group_noun(self) -> str:
        """What a group of samples is, such as a writer."""
        return self.source.groups.noun if self.source.groups else "group"

    @cached_property
    def duplicates(self) -> Duplicates:
        """Images that occur more than once."""
        return find_duplicates(self.arrays)

    @cached_property
    def pixels(self) -> dict[str, PixelStatistics]:
        """Pixel statistics of the training and the test part."""
        black = self.description.pixels.low
        parts = {"training": self.arrays.x_train, "test": self.arrays.x_test}
        return {name: pixel_statistics(images, black) for name, images in parts.items()}

    @cached_property
    def warnings(self) -> list[str]:
        """What is likely a mistake in the data, in one sentence each."""
        names, noun = self.description.class_names, self.description.noun
        found = list(label_warnings(self.arrays.y_train, names, noun))
        if self.description.kind != "image":
            return found
        for part, images in (("training", self.arrays.x_train), ("test", self.arrays.x_test)):
            scan = ImageScan()
            for start in range(0, len(images), CHUNK):
                scan.add(images[start : start + CHUNK])
            found += scan.warnings(part, self.description.pixels)
        return found

    @property
    def training_images(self) -> ByteImages:
        """Images of the training part, for display."""
        return ByteImages(self.arrays.x_train, self.description.pixels)

    @property
    def test_images(self) -> ByteImages:
        """Images of the test part, for display."""
        return ByteImages(self.arrays.x_test, self.description.pixels)


def pixel_statistics(images: Images, black: float = 0.0) -> PixelStatistics:
    """Returns the statistics of all pixels, in two passes: the mean, then the squared distances from it."""
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    mean = sum(float(chunk.sum(dtype=np.float64)) for chunk in chunks) / images.size
    squares = sum(float(((chunk.astype(np.float64) - mean) ** 2).sum()) for chunk in chunks)
    black_pixels = sum(int(np.count_nonzero(chunk == black)) for chunk in chunks)
    deviation = (squares / images.size) ** 0.5
    return PixelStatistics(mean, deviation, float(images.min()), float(images.max()), black_pixels / images.size)


def find_duplicates(arrays: Arrays) -> Duplicates:
    """Returns test images that are also training images, and the numbers of repeated images in each part."""
    # Whole images as keys: a digest could collide.
    training, test = ([image.tobytes() for image in images] for images in (arrays.x_train, arrays.x_test))
    first: dict[bytes, int] = {}
    for index, key in enumerate(training):
        first.setdefault(key, index)
    shared = tuple((index, first[key]) for index, key in enumerate(test) if key in first)
    conflicting = sum(int(arrays.y_test[one]) != int(arrays.y_train[other]) for one, other in shared)
    return Duplicates(shared, conflicting, len(training) - len(first), len(test) - len(set(test)))
