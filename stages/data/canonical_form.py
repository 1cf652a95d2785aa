"""One form of the arrays of a data set, so that sources with equal digests give equal files.

A digest is that of an array's bytes: the same for grey images (n, h, w) and (n, h, w, 1), and for int8 and uint8.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.sample_kinds import Kind
from stages.data.datasets import Arrays


def canonical(arrays: Arrays, kind: Kind) -> Arrays:
    """Returns checked arrays as they are written: grey images (n, h, w), labels uint8, integers from 0 on unsigned."""
    samples = {name: _canonical_samples(getattr(arrays, name), kind) for name in ("x_train", "x_test")}
    labels = {name: getattr(arrays, name).astype(np.uint8) for name in ("y_train", "y_test")}  # at most 100 classes
    return arrays._replace(**samples, **labels)


def _canonical_samples(samples: NDArray[Any], kind: Kind) -> NDArray[Any]:
    if kind == "image":
        return samples[..., 0] if samples.ndim == 4 and samples.shape[3] == 1 else samples
    if samples.dtype.kind == "i" and samples.min() >= 0:
        return samples.view(f"<u{samples.dtype.itemsize}")
    return samples
