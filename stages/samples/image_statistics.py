"""Numbers that describe images: how much ink they have, how it varies, where it is, and how sharp its edges are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("ink", "spread", "row", "column", "sharpness")
SLICE = 256  # images whose differences are in memory at once
WHITE = 255.0


def image_statistics(pixels: NDArray[np.float32], crop: Sequence[int] = (0, 0, 0, 0)) -> NDArray[np.float64]:
    """Returns the STATISTICS (n, 5) of `pixels` (n, h, w) or (n, h, w, channels) in 0..255, without the `crop`.

    - ink: mean brightness, of white 1;
    - spread: standard deviation of the brightness;
    - row, column: centre of mass of the brightness, from 0 (top, left) to 1;
    - sharpness: root mean square of the differences of neighbours, in units of the spread.

    Pixels are rounded to whole numbers first: they may come from network inputs, whose rounding differs.
    """
    top, bottom, left, right = crop
    inside = pixels[:, top : pixels.shape[1] - bottom, left : pixels.shape[2] - right]
    with np.errstate(invalid="ignore", over="ignore"):  # raw pixels can be infinite or no numbers
        parts = [_of_slice(inside[start : start + SLICE]) for start in range(0, len(inside), SLICE)]
    return np.concatenate(parts) if parts else np.zeros((0, len(STATISTICS)))


def _of_slice(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    grey = np.rint(pixels).astype(np.float64)
    grey = (grey.mean(axis=3) if grey.ndim == 4 else grey) / WHITE
    height, width = grey.shape[1:]
    ink, spread = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    mass = np.maximum(grey.sum(axis=(1, 2)), 1e-9)
    row = np.where(ink > 0, grey.sum(axis=2) @ _positions(height) / mass, 0.5)
    column = np.where(ink > 0, grey.sum(axis=1) @ _positions(width) / mass, 0.5)
    squares = sum((np.diff(grey, axis=axis) ** 2).sum(axis=(1, 2)) for axis in (1, 2))
    differences = max((height - 1) * width + height * (width - 1), 1)
    sharpness = np.where(spread > 0, np.sqrt(squares / differences) / np.maximum(spread, 1e-9), 0.0)
    return np.stack([ink, spread, row, column, sharpness], axis=1)


def _positions(side: int) -> NDArray[np.float64]:
    """Returns the centres of `side` pixels, from 0 to 1."""
    return (np.arange(side) + 0.5) / side
