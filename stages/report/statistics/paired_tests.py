"""Two models on the same test images: what only one of them gets right, and whether that is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import ttest_rel

from stages.report.statistics.intervals import Agreement, Interval, Mask, holm, mcnemar_p, paired_difference

EXACT = 1e-12  # relative difference below which two numbers are the same but for rounding
SIGNIFICANT = 0.05  # Holm-corrected p below which a difference counts as shown


class Classifier(Protocol):
    """What a comparison needs of a model that names classes."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def right(self) -> Mask: ...  # noqa: D102


class Regressor(Protocol):
    """What a comparison needs of a model that gives values."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def misses(self) -> npt.NDArray[np.float64]: ...  # noqa: D102


@dataclass(frozen=True)
class Pair:
    """Two models, the better one first where one is better; the difference is the first's score less the second's."""

    first: str
    second: str
    difference: float
    interval: Interval
    p: float  # of this comparison alone
    corrected_p: float  # Holm's, for all comparisons of its group, or of its `inkflow compare`
    seen: Agreement | None = None  # None for values, which are not right or wrong

    @property
    def shown(self) -> bool:
        """Whether the test images show a difference."""
        return self.corrected_p < SIGNIFICANT

    @property
    def more_errors(self) -> int:
        """Of the second model."""
        return self.seen.only_first - self.seen.only_second if self.seen else 0


def compare(first: Classifier, second: Classifier) -> Pair:
    """The exact McNemar test of two classifiers, uncorrected."""
    seen = Agreement.of(first.right, second.right)
    p = mcnemar_p(seen.only_first, seen.only_second)
    difference = (seen.only_first - seen.only_second) / sum(seen)
    return Pair(first.name, second.name, difference, paired_difference(seen), p, p, seen)


def compare_values(first: Regressor, second: Regressor) -> Pair:
    """The paired t test of how far two models miss, uncorrected; the difference is the second's error less."""
    gain = second.misses - first.misses
    rounding = EXACT * float(max(first.misses.max(), second.misses.max()))
    if np.ptp(gain) <= rounding:  # one and the same difference everywhere: no spread for a t test
        same = float(gain[0]) if abs(gain[0]) > rounding else 0.0
        p = min(1.0, 2 * 0.5 ** len(gain)) if same else 1.0  # the sign test's: each image says the same
        return Pair(first.name, second.name, same, Interval(same, same), p, p)
    test = ttest_rel(second.misses, first.misses)
    low, high = test.confidence_interval()
    p = float(test.pvalue)
    return Pair(first.name, second.name, float(gain.mean()), Interval(float(low), float(high)), p, p)


def corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs with their p-values corrected for how many there are."""
    values = holm([pair.p for pair in pairs])
    return tuple(replace(pair, corrected_p=p) for pair, p in zip(pairs, values, strict=True))


def every_pair(models: Sequence[Classifier]) -> tuple[Pair, ...]:
    """Each two of `models`, in their order."""
    return corrected([compare(*two) for two in combinations(models, 2)])


def every_pair_of_values(models: Sequence[Regressor]) -> tuple[Pair, ...]:
    """Each two of `models` that give values, in their order."""
    return corrected([compare_values(*two) for two in combinations(models, 2)])
