"""Weights of single samples: an array that a data set may have beside its images and labels."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.npz import Entry, array_names, open_npz

WEIGHTS = "w_train"  # a number for each training sample: how much it counts in the loss


def read_weights(path: Path, samples: int) -> NDArray[np.float32] | None:
    """Weights float32 (samples,) of the npz file `path`, which the download stage wrote; None where it has none.

    Raises:
        DataError: what is wrong, without the name of the file.
    """
    if WEIGHTS not in array_names(path):
        return None
    with open_npz(path, (WEIGHTS,), path.stat().st_size) as entries:  # it is not compressed
        return check_weights(entries[WEIGHTS], samples)


def check_weights(entry: Entry, samples: int) -> NDArray[np.float32]:
    """The weights in `entry`, one for each of so many samples: finite, from 0 on, not all 0.

    Raises:
        DataError: they are others.
    """
    if entry.shape != (samples,) or entry.dtype.kind not in "iuf":
        raise DataError(
            f"{entry.name} has shape {entry.shape} and type {entry.dtype}, "
            f"expected numbers of shape ({samples},), one for each training sample"
        )
    return checked(entry.name, entry.read())


def checked(name: str, weights: NDArray[Any]) -> NDArray[np.float32]:
    """`weights` as float32.

    Raises:
        DataError: one is negative or not finite, or all are 0.
    """
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise DataError(f"{name} has weights that are negative, not finite, or all 0; expected 0 or more, some above 0")
    return weights.astype("<f4")
