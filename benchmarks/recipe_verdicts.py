"""Verdicts on simulated recipes: on two that are the same but for their name, and on two with a real difference.

Each recipe is trained with several seeds and scored on the same test images. The probability of an error depends on the
image (most are easy, a few are hard for every model), on the recipe and the image, and on the seed. Of `dense` and
`dense_dropout` on MNIST, five seeds each have 2.0 and 2.3 % errors and deviate by 0.16 and 0.10 points; two seeds of
one differ on 1.5 and 1.6 % of the images.
"""

import argparse
import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from benchmarks import common
from stages.report.statistics.intervals import Floats
from stages.report.statistics.recipe_tests import RecipeTest, recipe_test

IMAGES, ERROR = 10_000, 0.02
# Standard deviations in logits: of images, of a recipe on single images, of seeds.
SPREADS = {"small": (7.0, 1.5, 0.12), "large": (6.0, 1.5, 0.15)}


class Case(NamedTuple):
    """One simulated comparison: the standard deviations between seeds, and the test."""

    deviations: tuple[float, float]
    test: RecipeTest | None


def simulate(random: np.random.Generator, seeds: int, difference: float, spread: str = "small") -> Case:
    """Trains two recipes that differ in accuracy by `difference`, with as many `seeds` each, and tests them.

    Without a difference they are the same recipe under two names: the same images are hard for both.
    """
    image_spread, recipe_spread, seed_spread = SPREADS[spread]
    of_image = image_spread * random.standard_normal(IMAGES)
    of_recipe = [of_image + recipe_spread * random.standard_normal(IMAGES) for _ in range(2)]
    first_images, second_images = of_recipe if difference else (of_recipe[0], of_recipe[0])
    shifts = [seed_spread * random.standard_normal((seeds, 1)) for _ in range(2)]
    width = float(np.hypot(image_spread, recipe_spread))
    better = recipe(random, first_images + shifts[0] + level(ERROR - difference, width))
    worse = recipe(random, second_images + shifts[1] + level(ERROR, width))
    first, second = (float(each.mean(axis=1).std(ddof=1)) for each in (better, worse))
    return Case((first, second), recipe_test(better, worse))


def recipe(random: np.random.Generator, logits: Floats) -> Floats:
    """Returns which images each seed gets right, from the logits of an error (seeds, n)."""
    return np.asarray(random.uniform(size=logits.shape) >= expit(logits), np.float64)


@functools.cache
def level(error: float, width: float) -> float:
    """Returns the mean logit at which the mean probability of an error is `error`; `width` is its deviation."""
    nodes = norm.ppf((np.arange(20_000) + 0.5) / 20_000) * width
    return float(brentq(lambda mean: float(expit(nodes + mean).mean()) - error, -100, 100))


def cases(count: int, seeds: int, difference: float, spread: str = "small") -> Iterator[Case]:
    """Yields independent cases, the same ones each time."""
    for number in range(count):
        random = np.random.default_rng([seeds, round(1e6 * difference), number])
        yield simulate(random, seeds, difference, spread)


def main() -> None:
    """Simulate comparisons of recipes with several numbers of seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500, help="simulated comparisons in each row (default: 500)")
    given = parser.parse_args()
    targets = {0.0: "at least 95 % cannot tell", 0.003: "at least 80 % found with 5 seeds and a small spread"}
    for difference, spread, seeds in itertools.product(targets, SPREADS, (2, 3, 5, 10)):
        found = list(cases(given.cases, seeds, difference, spread))
        tests = [case.test for case in found if case.test]
        better = sum(test.interval.low > 0 for test in tests)
        worse = sum(test.interval.high < 0 for test in tests)
        points = 100 * float(np.mean([case.deviations for case in found]))
        common.report(
            f"difference of {100 * difference:g} points, {spread} spread, {seeds} seeds each",
            targets[difference],
            runs=given.cases,
            first_is_better_percent=round(100 * better / given.cases, 1),
            second_is_better_percent=round(100 * worse / given.cases, 1),
            cannot_tell_percent=round(100 * (given.cases - better - worse) / given.cases, 1),
            deviation_between_seeds_points=round(points, 3),
        )


if __name__ == "__main__":
    main()
