"""Traps of a data set that are no mistakes for certain: labels from 1, a range of pixels that is hardly used, and more.

`ImageScan` collects facts chunk by chunk, for images larger than memory.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.samples.pixels import Pixels

MIN_USED_SHARE = 1 / 8  # of the range `pixels`: 0/1 pixels or 4 bits in bytes use less, dark photographs more
MAX_NAMED = 5  # classes in one warning


class ImageScan:
    """The range of the pixels of some images, those of one colour, and whether all images are equal."""

    def __init__(self) -> None:
        self.count = self.constant = self.first_constant = 0
        self.low, self.high = np.inf, -np.inf
        self._first: NDArray[Any] | None = None
        self.all_equal = True

    def add(self, images: NDArray[Any]) -> None:
        """Adds images (n, ...), which come after the earlier ones."""
        if not len(images):
            return
        rows = images.reshape(len(images), -1)
        low, high = rows.min(axis=1), rows.max(axis=1)
        constant = np.flatnonzero(low == high)
        if constant.size and not self.constant:
            self.first_constant = self.count + int(constant[0])
        self.constant += int(constant.size)
        self.low, self.high = min(self.low, float(low.min())), max(self.high, float(high.max()))
        self._first = rows[0].copy() if self._first is None else self._first
        self.all_equal = self.all_equal and bool((rows == self._first).all())
        self.count += len(images)

    def warnings(self, part: str, pixels: Pixels) -> Iterator[str]:
        """Yields the warnings about the images of `part`, such as "training"; `pixels` is their declared range."""
        if 0 < self.high - self.low < MIN_USED_SHARE * pixels.span:
            yield (
                f"the pixels of the {part} images are {self.low:g} to {self.high:g}, but their range (`pixels`) is "
                f"{pixels.low:g} to {pixels.high:g}, so the network's inputs hardly differ; if white is "
                f"{self.high:g}, set `pixels: {{low: {self.low:g}, high: {self.high:g}}}`"
            )
        if self.count > 1 and self.all_equal:
            yield f"all {self.count:,} {part} images are equal in every pixel: nothing can be learnt from them"
        elif self.constant:
            have = "has" if self.constant == 1 else "have"
            yield (
                f"{self.constant:,} of {self.count:,} {part} images {have} the same value in all pixels, the first is "
                f"number {self.first_constant}, counted from 0; remove what shows nothing"
            )


def label_warnings(labels: NDArray[Any], names: Sequence[str], noun: str = "image") -> Iterator[str]:
    """Yields the warnings about the training `labels` (n,) of the classes `names`; `noun` is what a sample is."""
    missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0).tolist()
    if missing == [0]:
        yield (
            f"the training labels start at 1, so class {names[0]} has no training {noun} and cannot be learnt; "
            "subtract 1 from all labels if they count from 1"
        )
    elif missing:
        named = ", ".join(names[label] for label in missing[:MAX_NAMED]) + (", ..." if missing[MAX_NAMED:] else "")
        classes = f"class {named} has" if len(missing) == 1 else f"{len(missing)} classes ({named}) have"
        yield (
            f"{classes} no training {noun} and cannot be learnt; number the labels without gaps, or choose another "
            "range of samples"
        )
