"""Random orders of samples, and the random selection of held-out samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def random_order(seed: int | Sequence[int], count: int) -> NDArray[np.int64]:
    """Returns a permutation of `count` indices that depends only on `seed`.

    It is the rank order of PCG64's raw numbers, which are the same in every version of NumPy; the results of
    `Generator.permutation` are not (NEP 19).
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def held_out_mask(labels: NDArray[Any], count: int, seed: int) -> NDArray[np.bool_]:
    """Selects `count` samples at random, stratified by label: each class keeps its share to within one sample.

    The samples are shuffled, then sorted by label, and then every n-th sample is selected.

    Args:
        labels: integers (n,).
        count: number of held-out samples, from 0 to n.
        seed: seed of the selection.

    Returns:
        bool (n,), True for each held-out sample.
    """
    shuffled = random_order(seed, len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    positions = (2 * np.arange(count) + 1) * len(labels) // (2 * max(count, 1))
    mask = np.zeros(len(labels), np.bool_)
    mask[by_label[positions]] = True
    return mask
