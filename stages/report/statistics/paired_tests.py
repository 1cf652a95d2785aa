"""Paired tests of two models on the same test images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, ttest_rel
from statsmodels.stats.multitest import multipletests

from stages.report.statistics.intervals import Floats, Interval, Mask, wilson_interval

ROUNDING = 1e-12  # relative difference below which two numbers differ by rounding alone
SIGNIFICANT = 0.05  # p-value below which a difference is significant


class Agreement(NamedTuple):
    """Numbers of test images that both, one or neither of two models predict correctly."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: Mask, second: Mask) -> "Agreement":
        """Counts the images from two masks of correct predictions, bool (n,)."""
        parts = (first & second, first & ~second, second & ~first, ~first & ~second)
        return cls(*(int(part.sum()) for part in parts))


class PairedTest(NamedTuple):
    """Result of a paired test of a first model against a second one."""

    difference: float  # positive where the first model is better
    interval: Interval  # of the difference, at the level of the test: it excludes 0 if and only if p is below it
    p: float  # two-sided, not corrected for other tests
    agreement: Agreement | None = None  # of classifiers only


def mcnemar_test(first: Mask, second: Mask, level: float = SIGNIFICANT) -> PairedTest:
    """Returns the exact McNemar test of two masks of correct predictions (n,); the difference is in accuracy.

    The interval is Newcombe's with a confidence of 1 - `level`. Where it and the exact test disagree about 0, the end
    near 0 is that of the exact interval, which belongs to the test.
    """
    agreement = Agreement.of(first, second)
    _, only_first, only_second, _ = agreement
    difference = (only_first - only_second) / sum(agreement)
    p, interval = mcnemar_p(only_first, only_second), paired_difference(agreement, 1 - level)
    if (p < level) != _excludes_zero(interval):
        exact = _conditional_difference(agreement, 1 - level)
        interval = Interval(exact.low, interval.high) if difference > 0 else Interval(interval.low, exact.high)
    return PairedTest(difference, interval, p, agreement)


def paired_t_test(first: Floats, second: Floats, level: float = SIGNIFICANT) -> PairedTest:
    """Returns the paired t test of two models' absolute errors (n,); the difference is second less first.

    The confidence of the interval is 1 - `level`.
    """
    gain = second - first
    rounding = ROUNDING * float(max(first.max(), second.max()))
    if np.ptp(gain) <= rounding:  # a constant difference has no spread, so the sign test takes the place of the t test
        constant = float(gain[0]) if abs(gain[0]) > rounding else 0.0
        p = min(1.0, 2 * 0.5 ** len(gain)) if constant else 1.0
        ends = (constant, constant) if p < level else (min(constant, 0.0), max(constant, 0.0))
        return PairedTest(constant, Interval(*ends), p)
    test = ttest_rel(second, first)
    low, high = test.confidence_interval(1 - level)
    return PairedTest(float(gain.mean()), Interval(float(low), float(high)), float(test.pvalue))


def can_differ(samples: int, tests: int = 1) -> bool:
    """Returns whether McNemar's test can be significant, corrected for `tests`, when all of `samples` differ."""
    return tests * mcnemar_p(samples, 0) < SIGNIFICANT


def _excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def _conditional_difference(agreement: Agreement, confidence: float) -> Interval:
    """Returns the interval of the difference that inverts the exact test, given the number of images that differ."""
    tosses = agreement.only_first + agreement.only_second
    share = binomtest(agreement.only_first, tosses).proportion_ci(confidence, method="exact")
    return Interval(*(tosses / sum(agreement) * (2 * float(end) - 1) for end in share))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Returns the two-sided p-value of the exact McNemar test, from the images that only one model predicts correctly.

    For equally good models each such image is a toss of a fair coin (McNemar 1947). Without such images p is 1.
    """
    tosses = only_first + only_second
    return float(binomtest(only_first, tosses).pvalue) if tosses else 1.0


def paired_difference(agreement: Agreement, confidence: float = 0.95) -> Interval:
    """Returns the interval of the first model's accuracy minus the second's, on the same images.

    Newcombe's square-and-add of Wilson's intervals (Newcombe 1998, method 10).
    """
    n = sum(agreement)
    first, second = agreement.both + agreement.only_first, agreement.both + agreement.only_second
    one, other = (wilson_interval(correct, n, confidence) for correct in (first, second))
    shares, phi = (first / n, second / n), _phi(agreement)
    difference = shares[0] - shares[1]
    below = _square_and_add(shares[0] - one.low, other.high - shares[1], phi)
    above = _square_and_add(one.high - shares[0], shares[1] - other.low, phi)
    return Interval(difference - below, difference + above)


def _phi(agreement: Agreement) -> float:
    """Newcombe's phi, with his continuity correction that moves a positive one towards 0."""
    both, only_first, only_second, neither = agreement
    cross = both * neither - only_first * only_second
    corrected = max(cross - sum(agreement) / 2, 0) if cross > 0 else cross
    margins = float(both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    return corrected / margins**0.5 if margins else 0.0


def _square_and_add(one: float, other: float, phi: float) -> float:
    return float(max(one**2 - 2 * phi * one * other + other**2, 0.0) ** 0.5)


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values corrected so that all tests together have a 5% error rate at most (Holm 1979)."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def holm_levels(p_values: Sequence[float]) -> list[float]:
    """Returns the level at which Holm's procedure tests each p-value: it is significant if it is below its level.

    The smallest one is tested at 5% / n, the next at 5% / (n - 1) and so on, until one is not significant; all others
    are tested at the level of that one.
    """
    levels, level, is_open = [0.0] * len(p_values), SIGNIFICANT, True
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        level = SIGNIFICANT / (len(p_values) - rank) if is_open else level
        levels[number], is_open = level, is_open and p_values[number] < level
    return levels
