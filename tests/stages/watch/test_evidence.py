"""The tests of the watch: their rate of false alarms over time, their bounds, and how soon they find a change."""

import itertools

import numpy as np
import pytest
from scipy import stats

from stages.model.reference import Distribution, Reference
from stages.watch.bounds import distribution_distance, largest_share
from stages.watch.comparisons import (
    CLASSES,
    MAX_CLASSES,
    OTHERS,
    REFERENCE_RISK,
    UNSURE,
    Comparison,
    MeanTest,
    comparisons,
    stream_limit,
)
from stages.watch.evidence import bet, evidence, no_bets

COIN = Comparison("coin", ("0", "1"), (), (70, 30), (MeanTest("more", np.array([0.0, 1.0]), 0.3),))
BOUND = np.array([0.3])


def test_no_bet_gains_on_average() -> None:
    """Over all sequences of a coin whose share is the bound, the mean of the evidence is 1, as Ville's theorem asks."""
    total = 0.0
    for flips in itertools.product((0, 1), repeat=10):
        bets = no_bets(1)
        for number, flip in enumerate(flips):
            bets = bet(bets, COIN, BOUND, np.array([flip]), number, 0)
        total += 0.3 ** sum(flips) * 0.7 ** (10 - sum(flips)) * np.exp(evidence(bets, 10))
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.farm
def test_looking_again_and_again_keeps_the_rate() -> None:
    """Of 400 healthy streams at the bound itself, looked at after each of 100 blocks, at most one in 20 reaches 20."""
    random, reached = np.random.default_rng(0), 0
    for _ in range(400):
        bets, highest = no_bets(1), -np.inf
        for block in range(100):
            bets = bet(bets, COIN, BOUND, (random.random(32) < 0.3).astype(int), 32 * block, 0)
            highest = max(highest, evidence(bets, 32 * block + 32))
        reached += highest >= np.log(20)
    assert 0 < reached <= 400 / 20  # the rate is kept, and not by never saying anything


@pytest.mark.parametrize("before", [0, 100_000])
def test_a_change_is_found_soon_however_long_all_was_well(before: int) -> None:
    """A share of 1 in place of 0.3 is found within 40 images after a short or a long healthy time."""
    random = np.random.default_rng(0)
    bets = bet(no_bets(1), COIN, BOUND, (random.random(before) < 0.2).astype(int), 0, 0)
    for images in range(10, 50, 10):
        bets = bet(bets, COIN, BOUND, np.ones(10, int), before + images - 10, images)
        if evidence(bets, before + images) > stream_limit(9):
            break
    assert images <= 40
    seen = bets.seen[0, np.argmax(bets.wealth)]
    assert seen >= images and (before == 0 or seen <= images + 32)  # it began about then


@pytest.mark.parametrize(("count", "samples"), [(0, 10), (3, 50), (60, 6000), (6000, 6000)])
def test_the_bound_of_a_share_is_not_below_the_exact_one(count: int, samples: int) -> None:
    """With the largest share, seeing so few is at most as likely as the risk, by the binomial distribution."""
    share = largest_share(count, samples, 0.001)
    assert count / samples <= share <= 1
    assert stats.binom.cdf(count, samples, share) <= 0.001 * (1 + 1e-9) or share == 1


def test_the_bound_of_a_mean_is_kept() -> None:
    """The true mean of 500 numbers from 0 to 1 is above the bound for the risk 0.05 at most so often, and 0.12 near."""
    random = np.random.default_rng(2)
    sums = random.beta(4, 1, (400, 500)).sum(axis=1)
    assert sum(largest_share(total, 500, 0.05) < 0.8 for total in sums) <= 0.05 * 400
    assert largest_share(250, 500, REFERENCE_RISK / 9 / (2 * MAX_CLASSES + 2)) < 0.5 + 0.12


def test_the_distance_of_a_distribution_is_kept() -> None:
    """The Kolmogorov distance of 300 samples is above the bound for the risk 0.05 at most so often."""
    random = np.random.default_rng(1)
    bound = distribution_distance(300, 0.05)
    above = sum(stats.kstest(random.random(300), "uniform").statistic > bound for _ in range(400))
    assert above <= 0.05 * 400 + 2 * np.sqrt(0.05 * 400)


def test_what_is_compared() -> None:
    """Classes, unsure answers and each number have tests whose scores are in 0..1, and whose bounds are above them."""
    numbers = {"confidence": Distribution((0.5,), (10, 90)), "unlikeness": Distribution((0.0, 1.0), (40, 40, 20))}
    reference = Reference(100, (60, 40), (5, 1), statistics=numbers)
    found = {item.name: item for item in comparisons(reference, ("a", "b"), 1, True)}
    assert list(found) == [CLASSES, UNSURE, "confidence", "unlikeness"]
    assert found[UNSURE].reference == (99, 1)
    for item in found.values():
        shares = np.array(item.reference) / 100
        for test in item.tests:
            assert test.scores.min() >= 0 and test.scores.max() <= 1
            assert shares @ test.scores < test.bound
    without = comparisons(reference, ("a", "b"), None, False)
    assert [item.name for item in without] == [CLASSES, "confidence"]


def test_many_classes_share_a_bin() -> None:
    """Of 200 classes the 50 most frequent ones have tests of their own; the counts of the others are one bin."""
    counts = tuple(range(1, 201))
    classes = comparisons(Reference(sum(counts), counts), tuple(map(str, range(200))), None, False)[0]
    assert len(classes.bins) == MAX_CLASSES + 1 and classes.bins[-1] == OTHERS and classes.bins[0] == "150"
    assert sum(classes.reference) == sum(counts) and classes.reference[-1] == sum(range(1, 151))
