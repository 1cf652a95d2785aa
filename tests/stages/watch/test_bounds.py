"""The numbers of the watch against their formulas written out: bounds, the split of the risk, the wealth of bets."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.model.reference import CONFIDENCE, UNLIKE, Distribution, Reference
from stages.watch.bounds import distribution_distance, largest_share
from stages.watch.comparisons import (
    CLASSES,
    MAX_CLASSES,
    OTHERS,
    RATE,
    REFERENCE_RISK,
    UNSURE,
    Comparison,
    MeanTest,
    comparisons,
    stream_limit,
    watched_classes,
)
from stages.watch.evidence import BLOCK, FRACTIONS, bet, evidence, evidence_of_tests, no_bets

TWO = Comparison(
    "two", ("a", "b", "c"), (), (5, 3, 2),
    (MeanTest("more", np.array([0.0, 0.5, 1.0]), 0.4), MeanTest("less", np.array([1.0, 0.5, 0.0]), 0.7)),
)  # fmt: skip
BOUNDS = np.array([0.4, 0.7])


@pytest.mark.parametrize(("samples", "risk"), [(1, 0.5), (300, 0.05), (10_000, 1e-6)])
def test_the_distance_is_that_of_massart(samples: int, risk: float) -> None:
    """The bound 2 exp(-2 n d²) at the distance is the risk."""
    distance = distribution_distance(samples, risk)
    assert 2 * math.exp(-2 * samples * distance**2) == pytest.approx(risk)


@pytest.mark.parametrize(("count", "samples", "risk"), [(3, 50, 0.01), (49.5, 50, 0.05), (0.25, 2000, 1e-5)])
def test_the_share_is_that_of_chernoff(count: float, samples: int, risk: float) -> None:
    """The bound exp(-n KL(seen, share)) at the share is the risk, and the share is above what was seen."""
    seen, share = count / samples, largest_share(count, samples, risk)
    divergence = seen * math.log(seen / share) + (1 - seen) * math.log((1 - seen) / (1 - share))
    assert math.exp(-samples * divergence) == pytest.approx(risk)
    assert share > seen


def test_shares_at_the_ends() -> None:
    """Of nothing seen, (1 - share)^n is the risk; of all, and a bit more by rounding, the share is 1."""
    assert (1 - largest_share(0, 100, 0.01)) ** 100 == pytest.approx(0.01)
    assert largest_share(100, 100, 0.01) == 1 == largest_share(100.000001, 100, 0.01)


def _reference(unsure: tuple[int, ...] = (5, 1)) -> Reference:
    numbers = {CONFIDENCE: Distribution((0.5,), (10, 90)), UNLIKE: Distribution((0.0, 1.0), (40, 40, 20))}
    return Reference(100, (60, 40), unsure, statistics=numbers)


@pytest.mark.parametrize(("level", "names"), [(0, [CLASSES, UNSURE]), (1, [CLASSES, UNSURE]), (2, [CLASSES]),
                                              (None, [CLASSES])])  # fmt: skip
def test_the_risk_is_split_over_all_comparisons(level: int | None, names: list[str]) -> None:
    """The classes, the unsure answers and each number get the same part of the risk, their tests a part of it."""
    found = {item.name: item for item in comparisons(_reference(), ("a", "b"), level, True)}
    assert list(found) == [*names, CONFIDENCE, UNLIKE]
    risk = REFERENCE_RISK / len(found)
    assert [(test.label, test.bound) for test in found[CLASSES].tests] == [
        ("a: more often", largest_share(60, 100, risk / 4)), ("a: less often", largest_share(40, 100, risk / 4)),
        ("b: more often", largest_share(40, 100, risk / 4)), ("b: less often", largest_share(60, 100, risk / 4)),
    ]  # fmt: skip
    assert [test.scores.tolist() for test in found[CLASSES].tests] == [[1, 0], [0, 1], [0, 1], [1, 0]]
    if level in (0, 1):
        (test,) = found[UNSURE].tests
        count = _reference().unsure[level]
        assert (test.scores.tolist(), test.bound) == ([0, 1], largest_share(count, 100, risk))
        assert found[UNSURE].reference == (100 - count, count)
    away = distribution_distance(100, risk)
    higher, lower, ends = found[CONFIDENCE].tests
    assert higher.scores == pytest.approx([0.05, 0.55]) and lower.scores == pytest.approx([0.95, 0.45])
    assert higher.bound == lower.bound == pytest.approx(0.5 + away)
    assert ends.scores == pytest.approx([0.9, 0.1])
    assert ends.bound == pytest.approx(0.1 * 0.9 + 0.9 * 0.1 + 2 * away)


def test_a_model_without_unlikeness_is_not_asked_for_it() -> None:
    """A number that the model does not measure is not compared, and takes no part of the risk."""
    found = comparisons(_reference(), ("a", "b"), None, False)
    assert [item.name for item in found] == [CLASSES, CONFIDENCE]
    assert found[0].tests[0].bound == largest_share(60, 100, REFERENCE_RISK / 2 / 4)


@pytest.mark.parametrize("number", [MAX_CLASSES, MAX_CLASSES + 1])
def test_the_most_frequent_classes(number: int) -> None:
    """Up to 50 classes have tests of their own; of more the most frequent ones, the first of equal ones, in order."""
    counts = [10] * number
    counts[3] = 1
    reference = Reference(sum(counts), tuple(counts))
    assert MAX_CLASSES == 50
    assert watched_classes(reference) == [index for index in range(number) if number == MAX_CLASSES or index != 3]
    classes = comparisons(reference, tuple(map(str, range(number))), None, False)[0]
    assert (classes.bins[-1] == OTHERS) == (number > MAX_CLASSES)
    assert len(classes.tests) == 2 * len(classes.bins) and sum(classes.reference) == sum(counts)


def test_the_limit_of_a_stream() -> None:
    """The other half of the rate of false alarms is split over the comparisons."""
    assert (RATE, REFERENCE_RISK) == (0.01, 0.005)
    assert stream_limit(9) == pytest.approx(math.log(9 / 0.005))


def _wealth(images: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the evidence of each test of TWO by loops over tests, fractions and images; bets start at each block."""
    found = []
    for test, bound in zip(TWO.tests, BOUNDS, strict=True):
        mean = 0.0
        for fraction in FRACTIONS:
            wealth = 0.0
            for start in range(0, len(images), BLOCK):
                block = images[start : start + BLOCK]
                until = start + len(block)
                wealth += until / (until + 1000) - start / (start + 1000)
                for image in block:
                    wealth *= 1 + fraction * (test.scores[image] / bound - 1)
            mean += wealth / len(FRACTIONS)
        found.append(math.log(mean + 1 - len(images) / (len(images) + 1000)))
    return np.array(found)


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_evidence_is_the_wealth_of_all_bets(count: int) -> None:
    """The evidence is the mean wealth of bets of all fractions that start at all blocks, and that of those to come."""
    images = np.random.default_rng(count).integers(0, 3, count)
    bets = bet(no_bets(2), TWO, BOUNDS, images, 0, 0)
    expected = _wealth(images)
    assert evidence_of_tests(bets, count) == pytest.approx(expected)
    assert evidence(bets, count) == pytest.approx(math.log(np.exp(expected).mean()))


def test_images_in_two_parts() -> None:
    """Two calls at the border of a block give what one call gives."""
    images = np.random.default_rng(0).integers(0, 3, 4 * BLOCK + 3)
    whole = bet(no_bets(2), TWO, BOUNDS, images, 0, 0)
    first = bet(no_bets(2), TWO, BOUNDS, images[: 2 * BLOCK], 0, 0)
    parts = bet(first, TWO, BOUNDS, images[2 * BLOCK :], 2 * BLOCK, 0)
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other)


def test_when_a_change_began() -> None:
    """Count, sum and moment of a bet begin anew with each block at whose end it has gained nothing."""
    images = np.concatenate([np.full(BLOCK, 2), np.full(2 * BLOCK, 0), np.full(BLOCK + 3, 2)])
    bets = bet(no_bets(2), TWO, BOUNDS, images, 0, 7)
    tenth = 2  # index of the bet of a tenth
    assert FRACTIONS[tenth] == 0.1
    assert bets.seen[:, tenth].tolist() == [BLOCK + 3, 0] == bets.total[:, tenth].tolist()
    assert bets.run[:, tenth] == pytest.approx([(BLOCK + 3) * math.log(1 + 0.1 * (1 / 0.4 - 1)), 0])
    again = bet(bets, TWO, BOUNDS, np.full(4, 2), len(images), 9)
    assert again.seen[:, tenth].tolist() == [BLOCK + 7, 0] and again.since[:, tenth].tolist() == [7, 9]
    few = bet(no_bets(2), TWO, BOUNDS, np.array([2]), 0, 0)
    assert few.seen.tolist() == [[1] * len(FRACTIONS), [0] * len(FRACTIONS)]  # a small gain is one, too


@pytest.mark.parametrize("share", [0.3, 0.45])
def test_no_wealth_is_above_the_gain_of_its_run(share: float) -> None:
    """So the bet that earned the evidence has images to tell about, and their mean score is above the bound."""
    random, bets, count = np.random.default_rng(4), no_bets(2), 0
    for size in [*range(1, 60), 400, 400]:
        images = np.where(random.random(size) < share, 2, random.integers(0, 2, size))
        bets, count = bet(bets, TWO, BOUNDS, images, count, 0), count + size
        assert (bets.wealth <= bets.run + 1e-9).all()
        has_run = bets.run > 0
        means = bets.total / np.maximum(bets.seen, 1)
        assert (means > BOUNDS[:, np.newaxis])[has_run].all() and (bets.seen > 0)[has_run].all()


def test_wealth_is_never_nothing() -> None:
    """Bets that lost all can be written as JSON, and gain again."""
    sure = Comparison("sure", ("0", "1"), (), (1, 1), (MeanTest("more", np.array([0.0, 1.0]), 1e-15),))
    lost = bet(no_bets(1), sure, np.array([0.0]), np.zeros(10, np.int64), 0, 0)
    assert np.isfinite(lost.wealth).all()
    assert np.isfinite(evidence(bet(lost, sure, np.array([0.0]), np.ones(2, np.int64), 10, 0), 12))
