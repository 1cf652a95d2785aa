"""Random orders of samples, and the choice of those that are held out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def random_order(seed: int | Sequence[int], count: int) -> NDArray[np.int64]:
    """Permutation of `count` indices, which `seed` alone decides.

    It ranks PCG64's raw numbers: these are the same in every version of NumPy, what its `permutation` makes of them
    is not (NEP 19).
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def held_out(labels: NDArray[Any], count: int, seed: int) -> NDArray[np.bool_]:
    """Random choice of `count` samples in which each class keeps its share, to within one sample.

    The samples are brought into a random order, then sorted by label, and every n-th is taken.

    Args:
        labels: integers (n,).
        count: from 0 to n.
        seed: which choice.

    Returns:
        bool (n,), True where a sample is held out.
    """
    shuffled = random_order(seed, len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    every = (2 * np.arange(count) + 1) * len(labels) // (2 * max(count, 1))
    chosen = np.zeros(len(labels), np.bool_)
    chosen[by_label[every]] = True
    return chosen
