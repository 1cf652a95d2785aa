"""Two models compared on the same test images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from stages.report.models.model_facts import ModelFacts
from stages.report.statistics.paired_tests import SIGNIFICANT, PairedTest, holm_correction, holm_levels


@dataclass(frozen=True)
class Pair:
    """The paired test of two models."""

    first: ModelFacts
    second: ModelFacts
    test: PairedTest  # its interval is at the level at which Holm's procedure tests this pair
    corrected_p: float  # Holm's, for all tests of its group, or of its `inkflow compare`

    @property
    def significant(self) -> bool:
        """Whether the test images show a difference."""
        return self.corrected_p < SIGNIFICANT

    @property
    def difference_text(self) -> str:
        """The difference of the scores, with its unit."""
        return self.first.format_difference(self.test.difference) + self.first.difference_unit

    @property
    def interval_text(self) -> str:
        """The interval of the difference, without its unit."""
        return " to ".join(self.first.format_difference(end) for end in self.test.interval)


def compare(first: ModelFacts, second: ModelFacts) -> Pair | None:
    """Tests two models against each other, uncorrected; None where their kind or their test labels differ."""
    if type(first) is not type(second) or not np.array_equal(first.labels, second.labels):
        return None
    test = first.paired_test(second)
    return Pair(first, second, test, test.p)


def compare_all(models: Iterable[ModelFacts]) -> tuple[Pair, ...]:
    """Tests each two of the models, in their order, with p-values corrected for all tests."""
    pairs = (compare(first, second) for first, second in combinations(models, 2))
    return corrected([pair for pair in pairs if pair])


def corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Returns the pairs with p-values and intervals corrected for the number of tests."""
    p_values = [pair.test.p for pair in pairs]
    return tuple(
        replace(pair, corrected_p=p, test=pair.first.paired_test(pair.second, level))
        for pair, p, level in zip(pairs, holm_correction(p_values), holm_levels(p_values), strict=True)
    )
