"""Array types of the statistics, and Wilson's interval of a share."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Labels = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """Lower and upper end of an interval; both are NaN where it is not known."""

    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether the ends are numbers."""
        return not (math.isnan(self.low) or math.isnan(self.high))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Returns Wilson's score interval of a share, accurate near 0 and 1 (Wilson 1927; Brown, Cai, DasGupta 2001)."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"got {successes} successes of {n}, expected 0 to n of at least 1")
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    # Floating-point rounding would miss the exact ends 0 and 1.
    return Interval(float(interval.low) if successes else 0.0, float(interval.high) if successes < n else 1.0)
