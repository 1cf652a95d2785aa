"""Tests of two recipes: models that are trained several times with different seeds, and scored on the same images."""

from typing import NamedTuple

import numpy as np
from scipy.stats import t

from stages.report.statistics.intervals import Floats, Interval
from stages.report.statistics.paired_tests import ROUNDING, SIGNIFICANT


class RecipeTest(NamedTuple):
    """Result of a test of a first recipe against a second one."""

    difference: float  # of the mean scores over all seeds; positive where the first recipe is better
    interval: Interval  # of the difference, at the level of the test
    p: float  # two-sided, not corrected for other tests

    @property
    def shows_difference(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval.low > 0 or self.interval.high < 0


class SeedVariance(NamedTuple):
    """Variance of the mean score of a recipe, from the seeds alone."""

    total: float
    single: float  # its part from what a single seed does on a single image, which the images' variance contains too
    seeds: int


def recipe_test(first: Floats, second: Floats, level: float = SIGNIFICANT) -> RecipeTest | None:
    """Returns the test of two recipes, or None for a recipe with a single seed: its spread is unknown.

    A score of a recipe varies with its seeds and with the test images (Bouthillier et al. 2021, "Accounting for
    variance in machine learning benchmarks"). The variance of the difference is that of both means over the seeds, plus
    that of the paired difference over the images. What single seeds do on single images is part of both, and counted
    once. The interval is Student's t with the degrees of freedom of Welch and Satterthwaite.

    Args:
        first: score of each seed on each test image (seeds, n); larger is better.
        second: the same of the other recipe, on the same images.
        level: 1 less the confidence of the interval.
    """
    if min(len(first), len(second)) < 2:
        return None
    difference, n = float(first.mean() - second.mean()), first.shape[1]
    parts = [_seed_variance(scores) for scores in (first, second)]
    gain = first.mean(axis=0) - second.mean(axis=0)
    images = float(gain.var(ddof=1)) / n if n > 1 else 0.0
    terms = [(part.total, part.seeds - 1) for part in parts]
    terms.append((max(0.0, images - sum(part.single for part in parts)), max(1, n - 1)))
    variance = sum(term for term, _ in terms)
    if variance <= (ROUNDING * max(1e-300, float(np.abs(first).max()), float(np.abs(second).max()))) ** 2:
        return _without_spread(difference, n, level)
    error, freedom = variance**0.5, variance**2 / sum(term**2 / df for term, df in terms)
    margin = float(t.isf(level / 2, freedom)) * error
    p = float(2 * t.sf(abs(difference) / error, freedom))
    return RecipeTest(difference, Interval(difference - margin, difference + margin), p)


def _seed_variance(scores: Floats) -> SeedVariance:
    """Returns the variance of the mean score of one recipe, from its `scores` (seeds, n).

    The variance between seeds cannot be smaller than what single seeds do on single images: with few seeds it is so by
    chance, and would promise too much.
    """
    k, n = scores.shape
    by_seed, by_image = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
    rest = scores - by_seed - by_image + scores.mean()
    single = float((rest**2).sum()) / ((k - 1) * max(1, n - 1)) / n
    return SeedVariance(max(float(by_seed.var(ddof=1)), single) / k, single / k, k)


def _without_spread(difference: float, n: int, level: float) -> RecipeTest:
    """Returns the sign test of a difference that is the same for all seeds and images."""
    constant = difference if abs(difference) > ROUNDING else 0.0
    p = min(1.0, 2 * 0.5**n) if constant else 1.0
    ends = (constant, constant) if p < level else (min(constant, 0.0), max(constant, 0.0))
    return RecipeTest(constant, Interval(*ends), p)
