"""Puts what a model was asked, and what it answered, into bins: two bytes for each image and statistic."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.model.reference import DECIMALS, Reference
from stages.samples.image_statistics import STATISTICS, image_statistics
from stages.watch.comparisons import CLASSES, UNSURE, Comparison, watched_classes

Bins = NDArray[np.uint16]


def observe(
    compared: Sequence[Comparison],
    reference: Reference,
    pixels: NDArray[np.float32],
    answers: Mapping[str, NDArray[np.float64]],
) -> Bins:
    """Returns the bin of each image in each comparison (n, comparisons).

    Args:
        compared: what is compared.
        reference: of the model.
        pixels: the samples (n, ...), of images in 0..255.
        answers: the predicted classes, whether each is unsure (0 or 1), confidence and unlikeness, each (n,).
    """
    values = dict(answers)
    if any(item.name in STATISTICS for item in compared):
        values |= dict(zip(STATISTICS, image_statistics(pixels, reference.crop).T, strict=True))
    columns = [_bins(item, reference, values[item.name]) for item in compared]
    return np.stack(columns, axis=1).astype(np.uint16)


def _bins(item: Comparison, reference: Reference, values: NDArray[np.float64]) -> NDArray[np.int64]:
    if item.name == UNSURE:
        return values.astype(np.int64)
    if item.name == CLASSES:
        watched = watched_classes(reference)
        numbers = np.full(len(reference.classes), len(watched), np.int64)  # the bin of the others
        numbers[watched] = np.arange(len(watched))
        return numbers[values.astype(np.int64)]
    found: NDArray[np.int64] = np.searchsorted(item.edges, np.round(values, DECIMALS.get(item.name, 4)), side="right")
    return found
