"""Verdicts on simulated recipes: on two that are the same but for their name, and on two with a real difference.

Each recipe is trained with several seeds and scored on the same test images. The probability of an error depends on the
image (most are easy, a few are hard for every model), on the recipe and the image, and on the seed. The defaults give
what five seeds of `dense` have on MNIST: 2 % errors, 0.08 points of standard deviation between seeds.
"""

import argparse
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
SPREADS = 7.0, 1.5, 0.12  # standard deviations in logits: of images, of a recipe on single images, of seeds


class Case(NamedTuple):
    """One simulated comparison: the standard deviations between seeds, and the test."""

    deviations: tuple[float, float]
    test: RecipeTest | None


def simulate(random: np.random.Generator, seeds: int, difference: float, images: int = IMAGES) -> Case:
    """Trains two recipes that differ in accuracy by `difference`, with as many `seeds` each, and tests them."""
    of_image = SPREADS[0] * random.standard_normal(images)
    better, worse = (recipe(random, of_image, seeds, error) for error in (ERROR - difference, ERROR))
    first, second = (float(each.mean(axis=1).std(ddof=1)) for each in (better, worse))
    return Case((first, second), recipe_test(better, worse))


def recipe(random: np.random.Generator, of_image: Floats, seeds: int, error: float) -> Floats:
    """Returns which of the images each seed of a recipe gets right (seeds, n), for a recipe with this mean `error`."""
    logits = of_image + SPREADS[1] * random.standard_normal(len(of_image))
    logits = logits + SPREADS[2] * random.standard_normal((seeds, 1)) + level(error)
    return np.asarray(random.uniform(size=logits.shape) >= expit(logits), np.float64)


def level(error: float) -> float:
    """Returns the mean logit at which the mean probability of an error is `error`."""
    spread = float(np.hypot(*SPREADS[:2]))
    nodes = norm.ppf((np.arange(20_000) + 0.5) / 20_000) * spread
    return float(brentq(lambda mean: float(expit(nodes + mean).mean()) - error, -100, 100))


def cases(count: int, seeds: int, difference: float) -> Iterator[Case]:
    """Yields independent cases, the same ones each time."""
    for number in range(count):
        yield simulate(np.random.default_rng([seeds, round(1e6 * difference), number]), seeds, difference)


def main() -> None:
    """Simulate comparisons of recipes with several numbers of seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500, help="simulated comparisons in each row (default: 500)")
    given = parser.parse_args()
    for difference, target in ((0.0, "at least 95 % cannot tell"), (0.003, "at least 80 % found with 5 seeds")):
        for seeds in (2, 3, 5, 10):
            found = list(cases(given.cases, seeds, difference))
            tests = [case.test for case in found if case.test]
            better = sum(test.interval.low > 0 for test in tests)
            worse = sum(test.interval.high < 0 for test in tests)
            points = 100 * float(np.mean([case.deviations for case in found]))
            common.report(
                f"difference of {100 * difference:g} points, {seeds} seeds each",
                target,
                runs=given.cases,
                first_is_better_percent=round(100 * better / given.cases, 1),
                second_is_better_percent=round(100 * worse / given.cases, 1),
                cannot_tell_percent=round(100 * (given.cases - better - worse) / given.cases, 1),
                deviation_between_seeds_points=round(points, 3),
            )


if __name__ == "__main__":
    main()
