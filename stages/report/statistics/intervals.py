"""The statistics that the report leans on; SciPy and statsmodels work them out wherever they can."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix as count_pairs
from statsmodels.stats.multitest import multipletests

Labels = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether no difference at all lies inside."""
        return self.low <= 0 <= self.high


class Confusion(NamedTuple):
    """How often images of the class `actual` were taken for the class `predicted`, as count and share of the class."""

    actual: int
    predicted: int
    times: int
    share: float


class Agreement(NamedTuple):
    """Two models on the same images: how many both, one or neither got right."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: Mask, second: Mask) -> "Agreement":
        """Counted from whether each image was got right, bool (n,)."""
        parts = (first & second, first & ~second, second & ~first, ~first & ~second)
        return cls(*(int(part.sum()) for part in parts))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a share, honest near 0 and 1 (Wilson 1927; Brown, Cai, DasGupta 2001)."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"got {successes} successes of {n}, expected 0 to n of at least 1")
    found = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    # At the ends the formula is exact in reals only.
    return Interval(float(found.low) if successes else 0.0, float(found.high) if successes < n else 1.0)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided p of the exact McNemar test, from the images that only one of two models got right.

    With equal models each such image is a toss of a fair coin (McNemar 1947). No such image is no evidence: p is 1.
    """
    tosses = only_first + only_second
    return float(binomtest(only_first, tosses).pvalue) if tosses else 1.0


def paired_difference(seen: Agreement) -> Interval:
    """95% interval of the first model's accuracy less the second's, on the same images.

    Newcombe's square-and-add of Wilson's intervals (Newcombe 1998, method 10).
    """
    n = sum(seen)
    first, second = seen.both + seen.only_first, seen.both + seen.only_second
    one, other = wilson_interval(first, n), wilson_interval(second, n)
    shares, phi = (first / n, second / n), _association(seen)
    difference = shares[0] - shares[1]
    below = _added(shares[0] - one.low, other.high - shares[1], phi)
    above = _added(one.high - shares[0], shares[1] - other.low, phi)
    return Interval(difference - below, difference + above)


def _association(seen: Agreement) -> float:
    """Newcombe's phi, with his correction that draws a positive one towards 0."""
    cross = seen.both * seen.neither - seen.only_first * seen.only_second
    corrected = max(cross - sum(seen) / 2, 0) if cross > 0 else cross
    right, wrong = seen.both + seen.only_first, seen.only_second + seen.neither
    other_right, other_wrong = seen.both + seen.only_second, seen.only_first + seen.neither
    size = float(right) * wrong * other_right * other_wrong
    return corrected / size**0.5 if size else 0.0


def _added(one: float, other: float, phi: float) -> float:
    return float(max(one**2 - 2 * phi * one * other + other**2, 0.0) ** 0.5)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values raised so that all comparisons together err in 5% at most (Holm 1979)."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def smoothed(values: pd.Series, factor: float) -> pd.Series:
    """Exponential smoothing, corrected for its start: s[i] = factor s[i-1] + (1-factor) x[i], over 1 - factor^i.

    From s = 0; the division gives each value a mean of those so far (Kingma and Ba 2015, section 3).
    """
    return values.ewm(alpha=1 - factor, adjust=True, ignore_na=True).mean()


def smoothed_from(factor: float) -> int:
    """From how many epochs on a smoothed curve is shown: twice the 1 / (1 - factor) that one value of it leans on.

    Of a shorter one even the last value is mostly about the steep beginning, which misleads.
    """
    return math.ceil(2 / (1 - factor) - 1e-9)


def confusion_matrix(actual: Labels, predicted: Labels, classes: int) -> Counts:
    """Counts int64 (classes, classes): a row for each actual class, a column for each predicted."""
    return np.asarray(count_pairs(actual, predicted, labels=range(classes)), np.int64)


def frequent_confusions(matrix: Counts, limit: int) -> list[Confusion]:
    """The largest counts off the diagonal, at most `limit`, the most frequent first."""
    sums = matrix.sum(axis=1)
    cells = [
        Confusion(int(a), int(p), int(matrix[a, p]), float(matrix[a, p] / sums[a]))
        for a, p in np.argwhere(matrix)
        if a != p
    ]
    return sorted(cells, key=lambda cell: (-cell.times, cell.actual, cell.predicted))[:limit]
