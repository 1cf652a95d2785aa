"""Sample weights: an optional array of a data set beside its images and labels."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.npz import Entry, array_names, open_npz

WEIGHTS = "w_train"  # weight of each training sample in the loss


def read_weights(path: Path, samples: int) -> NDArray[np.float32] | None:
    """Reads the weights, float32 (samples,), of a file that the download stage wrote; None if it has none.

    Raises:
        DataError: the file is invalid; the message does not name it.
    """
    if WEIGHTS not in array_names(path):
        return None
    with open_npz(path, (WEIGHTS,), path.stat().st_size) as entries:  # the file is not compressed
        return read_entry(entries[WEIGHTS], samples)


def read_entry(entry: Entry, samples: int) -> NDArray[np.float32]:
    """Reads one weight for each of the `samples` from `entry`.

    Raises:
        DataError: the shape, the type or a weight is invalid.
    """
    if entry.shape != (samples,) or entry.dtype.kind not in "iuf":
        raise DataError(
            f"{entry.name} has shape {entry.shape} and type {entry.dtype}, "
            f"expected numbers of shape ({samples},), one for each training sample"
        )
    return check_weights(entry.name, entry.read())


def check_weights(name: str, weights: NDArray[Any]) -> NDArray[np.float32]:
    """Returns `weights` as float32.

    Raises:
        DataError: a weight is negative or not finite, or all weights are 0.
    """
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise DataError(f"{name} has weights that are negative, not finite, or all 0; expected 0 or more, some above 0")
    return weights.astype("<f4")
