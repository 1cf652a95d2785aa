"""Measures the reference of a network: what its answers and its validation images look like."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stages.model.doubt import Doubt
from stages.model.reference import CONFIDENCE, DECIMALS, UNLIKE, Distribution, Reference
from stages.samples.image_statistics import STATISTICS, WHITE, image_statistics
from stages.samples.prepared import Prepared, raw_pixels

BINS = 20  # of a distribution: each holds a twentieth of the validation samples, where values are not equal

Floats = NDArray[np.float64]


def measure_reference(
    probabilities: Floats,
    unlikeness: Floats | None,
    images: Iterable[NDArray[np.float32]],
    prepared: Prepared,
    doubt: Doubt,
) -> Reference:
    """Returns the reference of validation samples.

    Args:
        probabilities: of all classes, (n, classes).
        unlikeness: (n,), or None if the network has no measure of it.
        images: network inputs, in batches.
        prepared: how they were prepared; samples that are no images have no statistics of their own.
        doubt: the network's thresholds.
    """
    confidence = probabilities.max(axis=1)
    values = {CONFIDENCE: confidence} | ({} if unlikeness is None else {UNLIKE: unlikeness})
    crop = (0, 0, 0, 0)
    if prepared.kind == "image":
        sides = prepared.crop
        crop = (sides.top, sides.bottom, sides.left, sides.right)
        low, factor = prepared.pixels.low, WHITE / prepared.pixels.span
        parts = [image_statistics((raw_pixels(batch, prepared) - low) * factor, crop) for batch in images]
        values |= dict(zip(STATISTICS, np.concatenate(parts).T, strict=True))
    classes = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    unsure = tuple(
        int(np.sum((confidence < low) | (np.False_ if unlikeness is None else unlikeness > doubt.unlikeness[number])))
        for number, low in enumerate(doubt.probability)
    )
    distributions = {name: distribution(np.round(value, DECIMALS.get(name, 4))) for name, value in values.items()}
    return Reference(len(confidence), tuple(map(int, classes)), unsure, crop, distributions)


def distribution(values: Floats) -> Distribution:
    """Returns the distribution of `values` (n,), in at most BINS bins of about equal counts."""
    ordered = np.sort(values)
    edges = np.unique(ordered[np.arange(1, BINS) * len(values) // BINS])
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return Distribution(tuple(map(float, edges)), tuple(map(int, counts)))
