"""Thresholds of probability and unlikeness, such that a stated share of the validation images is kept."""

import numpy as np
from numpy.typing import NDArray

from stages.model.doubt import LEVELS, Doubt

UNLIKE_SHARE = 4  # chosen on validation images against pictures of no digits, see docs/predict.md

Floats = NDArray[np.float64]


def choose_thresholds(temperature: float, probability: Floats, unlikeness: Floats | None) -> Doubt:
    """Returns the thresholds for LEVELS from the `probability` (n,) and the `unlikeness` (n,) of validation images.

    All in all at most the share 1 - level is left out: one image for its probability for each UNLIKE_SHARE images left
    out for their unlikeness.
    """
    samples = len(probability)
    if not samples:
        return Doubt(temperature)
    low = np.sort(probability)
    ranks, share = np.searchsorted(low, probability), 1  # of the order in which images are left out, from 0
    if unlikeness is not None:
        high, share = np.sort(unlikeness)[::-1], UNLIKE_SHARE
        ranks = np.minimum(UNLIKE_SHARE * ranks, np.searchsorted(-high, -unlikeness))
    ranks = np.sort(ranks)
    left_out = [int((1 - level) * samples + 1e-9) for level in LEVELS]
    limits = ranks[left_out]  # images with lower ranks are left out: at most as many
    unlike = _outwards(high[limits], np.inf) if unlikeness is not None else ()
    return Doubt(temperature, LEVELS, _outwards(low[-(-limits // share)], -np.inf), unlike)


def _outwards(values: Floats, direction: float) -> tuple[float, ...]:
    """Returns `values` moved by one float32 in `direction`: the model computes with these."""
    return tuple(map(float, np.nextafter(values.astype(np.float32), np.float32(direction))))
