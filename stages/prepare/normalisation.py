"""Constants of the normalisation, computed from the training part: for all pixels, or for each feature."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InvalidInput
from stages.base.sample_kinds import Kind
from stages.samples.pixels import Pixels
from stages.samples.prepared import Constant

Chunks = Callable[[], Iterator[NDArray[Any]]]  # of the samples of the training part, (n, ...), none of them empty


def normalisation(chunks: Chunks, normalise: str, kind: Kind, pixels: Pixels) -> tuple[Constant, Constant]:
    """Returns offset and scale of the normalisation.

    Args:
        chunks: yields the samples of the training part.
        normalise: `prepare.normalise`, unit or standard; tokens are not scaled.
        kind: what a sample is.
        pixels: range of the pixels of images.

    Raises:
        InvalidInput: all values are the same.
    """
    if kind == "tokens":
        return 0.0, 1.0
    if kind != "image":
        return _feature_constants(chunks, normalise)
    if normalise == "unit":
        return pixels.low, pixels.span
    mean, deviation = _moments_of_pixels(chunks)
    if not deviation:
        raise InvalidInput(
            f"prepare.normalise is standard, but every pixel is {mean:g}, so the standard deviation is 0; "
            "choose unit, or another crop"
        )
    return mean, deviation


def _moments_of_pixels(chunks: Chunks) -> tuple[float, float]:
    first = next(chunks())
    if first.dtype != np.uint8:
        return _moments_of_floats(chunks)
    counts = np.zeros(256, np.int64)
    for pixels in chunks():
        counts += np.bincount(pixels.reshape(-1), minlength=256)
    return moments(counts)


def _moments_of_floats(chunks: Chunks) -> tuple[float, float]:
    """Returns mean and standard deviation; sums over images are exact, so they do not depend on the chunks."""
    number = sum(pixels.size for pixels in chunks())

    def power_sum(centre: float, power: int) -> float:
        return math.fsum(
            image_sum
            for pixels in chunks()
            for image_sum in ((pixels.astype(np.float64) - centre) ** power).reshape(len(pixels), -1).sum(axis=1)
        )

    mean = power_sum(0.0, 1) / number
    return mean, math.sqrt(power_sum(mean, 2) / number)


def moments(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Returns mean and standard deviation of the values 0, 1, ..., which occur `counts` times.

    The sums are exact (Python's integers), so the result does not depend on the order of summation.
    """
    number, total, squares = (
        sum(int(count) * value**power for value, count in enumerate(counts)) for power in (0, 1, 2)
    )
    return total / number, math.sqrt((number * squares - total**2) / number**2)


def _feature_constants(chunks: Chunks, normalise: str) -> tuple[Constant, Constant]:
    """Returns offset and scale of each feature, the last axis of the samples.

    unit: the smallest value, and the distance to the largest one; standard: mean and standard deviation. A feature with
    the same value in all samples becomes 0, as in scikit-learn's scalers.
    """
    offset, scale = _range_of_features(chunks) if normalise == "unit" else _moments_of_features(chunks)
    # Differences that float32 does not hold are none: the network would get rounding errors.
    constant = np.float32(scale) <= np.abs(np.float32(offset)) * np.finfo(np.float32).eps
    if constant.all():
        raise InvalidInput(
            "each feature has the same value in all training samples, so that nothing can be learnt from them; choose "
            "other data, or other prepare.samples"
        )
    return offset.tolist(), np.where(constant, 1.0, scale).tolist()


def _range_of_features(chunks: Chunks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ranges = [(rows.min(axis=0), rows.max(axis=0)) for rows in _rows(chunks)]
    low = np.min([low for low, _ in ranges], axis=0)
    return low, np.max([high for _, high in ranges], axis=0) - low


def _moments_of_features(chunks: Chunks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count, total = 0, np.zeros(())
    for rows in _rows(chunks):
        count, total = count + len(rows), total + rows.sum(axis=0)
    mean = total / count
    squares = np.sum([((rows - mean) ** 2).sum(axis=0) for rows in _rows(chunks)], axis=0)
    return mean, np.sqrt(squares / count)


def _rows(chunks: Chunks) -> Iterable[NDArray[np.float64]]:
    """Yields rows (n, features) as float64; of sequences, each step is a row."""
    return (samples.reshape(-1, samples.shape[-1]).astype(np.float64) for samples in chunks())
