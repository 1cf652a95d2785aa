"""Evidence that something has changed: wealth of bets against the tests, which may be looked at after every image.

A bet puts the fraction f of its wealth on the score s of the next image: the wealth is multiplied by 1 + f (s / u - 1),
where u is what the mean of s is at most. If that is so, no bet gains on average, and the chance that a wealth of 1 ever
reaches L is at most 1 / L (Ville, 1939), however often one looks: Ian Waudby-Smith and Aaditya Ramdas, Estimating means
of bounded random variables by betting, 2023. A mean of the wealth of several bets has the same property.

A bet that runs since the beginning would lose everything before a change comes. So the wealth is spread over bets that
start at all times, of which each start gets the part of a prior (Albert Shiryaev, On optimum methods in quickest
detection problems, 1963; Jaehyeok Shin, Aaditya Ramdas and Alessandro Rinaldo, E-detectors, 2023). One number for each
fraction is enough to know the wealth of all of them, and the chance of a false alarm stays what it was, for ever.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.watch.comparisons import Comparison

FRACTIONS = np.array([0.01, 0.03, 0.1, 0.3, 0.6, 0.95])  # of the wealth: small changes need small bets
PRIOR_SCALE = 1000.0  # images: half of the prior is on a change among the first of them
BLOCK = 32  # images between two starts of bets
NOTHING = -1e9  # logarithm of a wealth of 0, which JSON can hold

Floats = NDArray[np.float64]


class Bets(NamedTuple):
    """The bets on the tests of one comparison.

    Attributes:
        wealth: logarithm of the wealth that is in play.
        run: logarithm of what a bet has gained since it last had no gain: the change began about then. No wealth is
            larger, so a bet with evidence has a run.
        seen: images since then.
        total: sum of their scores.
        since: index of the moment at which that was, in the caller's list of moments.

    Each is (tests, fractions).
    """

    wealth: Floats
    run: Floats
    seen: Floats
    total: Floats
    since: NDArray[np.int64]


def no_bets(tests: int) -> Bets:
    """Returns the bets before the first image."""
    zeros = np.zeros((tests, len(FRACTIONS)))
    return Bets(np.full_like(zeros, NOTHING), zeros, zeros, zeros, np.zeros_like(zeros, np.int64))


def bet(bets: Bets, comparison: Comparison, bounds: Floats, bins: NDArray[Any], before: int, moment: int) -> Bets:
    """Returns the bets after further images.

    Args:
        bets: before them.
        comparison: what is tested.
        bounds: what the mean of the score of each test is at most (tests,).
        bins: the bin of each image (n,).
        before: number of images before.
        moment: index of this moment.
    """
    scores = np.array([test.scores for test in comparison.tests])
    gains = np.log1p(FRACTIONS * (scores[..., np.newaxis] / np.maximum(bounds, 1e-12)[:, np.newaxis, np.newaxis] - 1))
    wealth, run, seen, total, since = bets
    counts = _block_counts(bins, scores.shape[1])
    sums = counts @ scores.T
    for number, gained in enumerate(np.einsum("nb,tbf->ntf", counts, gains)):
        start, size = number * BLOCK, min(BLOCK, len(bins) - number * BLOCK)
        stake = prior(before + start + size) - prior(before + start)
        wealth = np.maximum(np.logaddexp(wealth, np.log(stake)) + gained, NOTHING)
        run = np.maximum(run + gained, 0)
        is_over = run <= 0
        seen = np.where(is_over, 0, seen + size)
        total = np.where(is_over, 0, total + sums[number][:, np.newaxis])
        since = np.where(is_over, moment, since)
    return Bets(wealth, run, seen, total, since)


def _block_counts(bins: NDArray[Any], number: int) -> Floats:
    """Returns how many images of each block are in each of `number` bins (blocks, number)."""
    blocks = -(-len(bins) // BLOCK)
    cells = np.arange(len(bins)) // BLOCK * number + bins
    return np.bincount(cells, minlength=blocks * number).reshape(blocks, number).astype(np.float64)


def prior(images: int) -> float:
    """Returns the part of the prior on a change among the first `images`."""
    return images / (images + PRIOR_SCALE)


def evidence_of_tests(bets: Bets, images: int) -> Floats:
    """Returns the natural logarithm of the evidence of each test (tests,) after so many `images`."""
    played = np.logaddexp.reduce(bets.wealth, axis=1) - np.log(bets.wealth.shape[1])
    evidence: Floats = np.logaddexp(played, np.log1p(-prior(images)))
    return evidence


def evidence(bets: Bets, images: int) -> float:
    """Returns the natural logarithm of the evidence of a comparison: the mean of that of its tests."""
    of_tests = evidence_of_tests(bets, images)
    return float(np.logaddexp.reduce(of_tests) - np.log(len(of_tests)))
