"""The test of two recipes against its formula written out, and where it has nothing to go by."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t

from stages.report.statistics.intervals import Interval
from stages.report.statistics.recipe_tests import RecipeTest, recipe_test

Floats = NDArray[np.float64]


def scores(seeds: int, images: int, seed: int, spread: float) -> Floats:
    """Returns scores of seeds on images, with a level for each seed and each image."""
    random = np.random.default_rng(seed)
    return (
        random.normal(0, spread, (seeds, 1)) + random.normal(0, 1, (1, images)) + random.normal(0, 1, (seeds, images))
    )


def by_loops(first: Floats, second: Floats, level: float) -> tuple[float, float, float]:
    """Returns the ends of the interval and the p-value, from sums over seeds and images."""
    images = first.shape[1]
    parts, singles = [], []
    for table in (first, second):
        seeds, mean = len(table), table.mean()
        rest = 0.0
        for row in range(seeds):
            for column in range(images):
                rest += (table[row, column] - table[row].mean() - table[:, column].mean() + mean) ** 2
        single = rest / (seeds - 1) / max(1, images - 1) / images
        between = sum((table[row].mean() - mean) ** 2 for row in range(seeds)) / (seeds - 1)
        parts.append((max(between, single) / seeds, seeds - 1))
        singles.append(single / seeds)
    gains = [first[:, column].mean() - second[:, column].mean() for column in range(images)]
    of_images = float(np.var(gains, ddof=1)) / images if images > 1 else 0.0
    parts.append((max(0.0, of_images - sum(singles)), max(1, images - 1)))
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    difference, error = first.mean() - second.mean(), variance**0.5
    margin = t.ppf(1 - level / 2, freedom) * error
    return difference - margin, difference + margin, 2 * t.cdf(-abs(difference) / error, freedom)


@pytest.mark.parametrize(
    ("seeds", "images", "spread", "level"),
    [
        ((3, 5), 40, 0.0, 0.05),
        ((2, 4), 30, 2.0, 0.05),
        ((5, 2), 2, 0.5, 0.01),
        ((4, 3), 1, 1.0, 0.1),
        ((2, 2), 60, 0.1, 0.05),
    ],
)
def test_the_formula(seeds: tuple[int, int], images: int, spread: float, level: float) -> None:
    """Interval and p-value follow from the variances of seeds and images, with Welch and Satterthwaite's freedom."""
    first, second = scores(seeds[0], images, 1, spread) + 0.4, scores(seeds[1], images, 2, spread)
    test = recipe_test(first, second, level)
    assert test is not None
    assert (*test.interval, test.p) == pytest.approx(by_loops(first, second, level))
    assert test.difference == pytest.approx(first.mean() - second.mean())


@pytest.mark.parametrize(
    ("interval", "shows"),
    [((0.1, 0.2), True), ((-0.2, -0.1), True), ((-0.1, 0.1), False), ((0.0, 0.1), False), ((-0.1, 0.0), False)],
)
def test_an_interval_with_zero_shows_nothing(interval: tuple[float, float], shows: bool) -> None:
    """A difference is shown by an interval that excludes 0, on either side."""
    assert RecipeTest(0.0, Interval(*interval), 0.5).shows_difference is shows


@pytest.mark.parametrize(("seeds", "known"), [((1, 5), False), ((5, 1), False), ((2, 2), True)])
def test_one_seed_has_no_spread(seeds: tuple[int, int], known: bool) -> None:
    """Both recipes need two seeds."""
    assert (recipe_test(scores(seeds[0], 9, 1, 1), scores(seeds[1], 9, 2, 1)) is not None) == known


@pytest.mark.parametrize(
    ("difference", "images", "level", "interval", "p"),
    [
        (1.0, 5, 0.05, (0.0, 1.0), 2 / 2**5),  # five images could agree by chance
        (1.0, 6, 0.05, (1.0, 1.0), 2 / 2**6),
        (-1.0, 5, 0.05, (-1.0, 0.0), 2 / 2**5),
        (-1.0, 6, 0.05, (-1.0, -1.0), 2 / 2**6),
        (1.0, 1, 0.05, (0.0, 1.0), 1.0),
        (0.0, 40, 0.05, (0.0, 0.0), 1.0),
        (1e-15, 40, 0.05, (0.0, 0.0), 1.0),  # rounding
        (1.0, 6, 2 / 2**6, (0.0, 1.0), 2 / 2**6),
    ],
)
def test_without_any_spread(
    difference: float, images: int, level: float, interval: tuple[float, float], p: float
) -> None:
    """A difference that is the same for all seeds and images is judged by the number of images: by the sign test."""
    second = np.full((3, images), 0.5)
    test = recipe_test(second + difference, second, level)
    assert test is not None
    assert (test.p, tuple(test.interval)) == (p, interval)
    assert test.difference == (0.0 if abs(difference) < 1e-9 else difference)


def test_two_images_that_differ_much() -> None:
    """The variance of the images counts from two images on, with one degree of freedom."""
    random = np.random.default_rng(5)
    first, second = (np.array([[0.0, far]]) + random.normal(0, 0.3, (4, 2)) for far in (9, 0))
    test = recipe_test(first, second, 0.05)
    assert test is not None
    assert (*test.interval, test.p) == pytest.approx(by_loops(first, second, 0.05))


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e9])
def test_the_unit_of_the_scores_decides_nothing(scale: float) -> None:
    """A spread is a spread in any unit, and rounding is none in any unit."""
    first, second = scores(3, 20, 1, 1.0), scores(4, 20, 2, 1.0)
    test, scaled = recipe_test(first, second), recipe_test(first * scale, second * scale)
    assert test is not None and scaled is not None
    assert scaled.p == pytest.approx(test.p)
    assert np.array(scaled.interval) / scale == pytest.approx(np.array(test.interval))
    noise = np.random.default_rng(3).choice([1 - 1e-15, 1, 1 + 1e-15], (3, 7))
    constant = recipe_test(noise * scale, noise * scale / 2)
    assert constant is not None and constant.p in (1.0, 2 / 2**7)
