"""Statistics, compared with independent oracles and cases calculated by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial, norm
from sklearn.metrics import confusion_matrix as oracle_confusion
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from stages.report.statistics.intervals import wilson_interval
from stages.report.statistics.paired_tests import (
    Agreement,
    holm_correction,
    holm_levels,
    mcnemar_p,
    mcnemar_test,
    paired_difference,
)
from stages.report.statistics.scores import Confusion, confusion_matrix, frequent_confusions
from stages.report.statistics.smoothing import min_smoothed_epochs, smooth
from stages.report.statistics.thresholds import thresholds


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_statsmodels(case: tuple[int, int]) -> None:
    """The interval is that of statsmodels, for all counts."""
    assert wilson_interval(*case) == pytest.approx(proportion_confint(*case, method="wilson"), abs=1e-9)


def test_wilson_interval_at_its_ends() -> None:
    """No success starts at exactly 0, all successes end at exactly 1; by hand: 3.84146 / (4 + 3.84146)."""
    none, every = wilson_interval(0, 4), wilson_interval(4, 4)
    assert (none.low, every.high) == (0.0, 1.0)
    assert (none.high, every.low) == pytest.approx((0.489891, 0.510109), abs=1e-6)


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_inverts_the_score_test(case: tuple[int, int]) -> None:
    """By definition the share lies 1.96 standard deviations of each end away from that end."""
    successes, n = case
    for end in wilson_interval(*case):
        if 0 < end < 1:
            assert (successes / n - end) ** 2 == pytest.approx(norm.ppf(0.975) ** 2 * end * (1 - end) / n, abs=1e-12)


@pytest.mark.parametrize("case", [(0, 0), (5, 4), (-1, 4)])
def test_wilson_interval_rejects_impossible_counts(case: tuple[int, int]) -> None:
    """No sample, more successes than samples and negative counts are errors."""
    with pytest.raises(ValueError, match="expected 0 to n of at least 1"):
        wilson_interval(*case)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    """The p-value is that of tosses of a fair coin, and 1 without tosses."""
    expected = mcnemar([[7, only_first], [only_second, 9]], exact=True).pvalue
    assert mcnemar_p(only_first, only_second) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand() -> None:
    """1 against 5 of 6 tosses: 2 * (1 + 6) / 64."""
    assert mcnemar_p(1, 5) == mcnemar_p(5, 1) == 14 / 64


def test_mcnemar_at_its_edges() -> None:
    """No disagreement and a single one have p = 1; n images of one kind are n equal tosses."""
    assert mcnemar_p(0, 0) == 1.0 and mcnemar_p(0, 1) == 1.0
    for n in (2, 6, 40):
        assert mcnemar_p(0, n) == mcnemar_p(n, 0) == pytest.approx(2 * 0.5**n)


def test_mcnemar_of_many_disagreements_is_finite() -> None:
    """Ten thousand disagreements neither overflow nor underflow."""
    assert mcnemar_p(5_000, 5_000) == 1.0
    assert 0 <= mcnemar_p(0, 10_000) < 1e-300


def test_smoothing_by_hand() -> None:
    """The first value is unchanged; the next are means with weights 0.9 to 1, then 0.81 to 0.9 to 1."""
    assert smooth(pd.Series([1.0, 0.0, 2.0]), 0.9).tolist() == pytest.approx([1.0, 0.9 / 1.9, 2.81 / 2.71])


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0, 0.99))
def test_smoothing_is_adams_corrected_mean(values: list[float], factor: float) -> None:
    """Each value is the running mean from zero over 1 - factor^i, and lies between the smallest and largest so far."""
    mean, expected = 0.0, []
    for step, value in enumerate(values, 1):
        mean = factor * mean + (1 - factor) * value
        expected.append(mean / (1 - factor**step))
    means = smooth(pd.Series(values), factor)
    np.testing.assert_allclose(means, expected, atol=1e-9)
    assert (means <= np.maximum.accumulate(values) + 1e-9).all()
    assert (means >= np.minimum.accumulate(values) - 1e-9).all()


def test_few_epochs_are_not_smooth() -> None:
    """Smoothing needs 20 epochs with weight 0.9, 4 with 0.5, and 2 with 0: its end then no longer shows the start."""
    assert [min_smoothed_epochs(factor) for factor in (0.9, 0.5, 0.0)] == [20, 4, 2]
    steep = pd.Series(np.exp(-np.arange(20) / 2))
    assert smooth(steep, 0.9).iloc[-1] < 0.1 * steep.iloc[0]


def test_no_smoothing_changes_nothing() -> None:
    """Factor 0 returns the values."""
    assert smooth(pd.Series([3.0, 1.0, 2.0]), 0.0).tolist() == [3.0, 1.0, 2.0]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1), st.integers(5, 7))
def test_confusion_matrix_is_scikit_learns(pairs: list[tuple[int, int]], classes: int) -> None:
    """Counts are those of scikit-learn, also for classes that do not occur."""
    actual, predicted = np.array(pairs).T
    expected = oracle_confusion(actual, predicted, labels=range(classes))
    np.testing.assert_array_equal(confusion_matrix(actual, predicted, classes), expected)


def test_frequent_confusions_leave_out_the_diagonal() -> None:
    """The largest errors come first, equal ones in the order of classes; the diagonal is left out."""
    matrix = np.array([[90, 2, 0], [5, 80, 2], [0, 1, 70]])
    assert frequent_confusions(matrix, 3) == [
        Confusion(1, 0, 5, 5 / 87), Confusion(0, 1, 2, 2 / 92), Confusion(1, 2, 2, 2 / 87),
    ]  # fmt: skip
    assert frequent_confusions(np.diag([3, 4]), 3) == []


def test_paired_difference_is_the_published_one() -> None:
    """Airway responsiveness before and after stem cells, n = 21: -0.507 to -0.026 (Fagerland et al. 2014)."""
    assert paired_difference(Agreement(1, 1, 7, 12)) == pytest.approx((-0.507, -0.026), abs=5e-4)


@given(st.tuples(*[st.integers(0, 300)] * 4).filter(any))
def test_paired_difference_contains_the_difference_and_is_antisymmetric(counts: tuple[int, int, int, int]) -> None:
    """The interval contains the difference, stays within -1 to 1, and changes its sign when the models are swapped."""
    agreement = Agreement(*counts)
    low, high = paired_difference(agreement)
    difference = (agreement.only_first - agreement.only_second) / sum(agreement)
    assert -1 - 1e-9 <= low <= difference + 1e-9 and difference - 1e-9 <= high <= 1 + 1e-9
    both, only_first, only_second, neither = agreement
    swapped = paired_difference(Agreement(both, only_second, only_first, neither))
    assert (-swapped.high, -swapped.low) == pytest.approx((low, high), abs=1e-9)


@given(st.tuples(*[st.integers(0, 300)] * 4).filter(any))
def test_paired_difference_is_square_and_add(counts: tuple[int, int, int, int]) -> None:
    """The interval is that of Newcombe's method 10, written a second time with statsmodels' Wilson intervals."""
    a, b, c, d = counts
    n = sum(counts)
    (low1, high1), (low2, high2) = (proportion_confint(k, n, method="wilson") for k in (a + b, a + c))
    p1, p2, cross = (a + b) / n, (a + c) / n, a * d - b * c
    margins = np.prod([float(a + b), c + d, a + c, b + d])
    phi = (max(cross - n / 2, 0) if cross > 0 else cross) / np.sqrt(margins) if margins else 0.0

    def margin(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, np.array([one, -other]) @ [[1, phi], [phi, 1]] @ [one, -other])))

    low, high = p1 - p2 - margin(p1 - low1, high2 - p2), p1 - p2 + margin(high1 - p1, p2 - low2)
    assert paired_difference(Agreement(*counts)) == pytest.approx((low, high), abs=1e-7)


@pytest.mark.cases(1)
@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.03, 0.02), (0.8, 0.1, 0.1, 0.0), (0.3, 0.2, 0.1, 0.4)])
def test_paired_difference_covers(shares: tuple[float, float, float, float]) -> None:
    """Over all tables of 12 images, the interval contains the true difference in 95% of cases, within 4 points."""
    tables = [
        (a, b, c, 12 - a - b - c) for a in range(13) for b in range(13 - a) for c in range(13 - a - b)
    ]  # fmt: skip
    chances = multinomial.pmf(np.array(tables), 12, shares)
    truth = shares[1] - shares[2]
    covered = [low <= truth <= high for low, high in (paired_difference(Agreement(*table)) for table in tables)]
    assert chances.sum() == pytest.approx(1)
    assert 0.91 <= float(chances @ np.array(covered)) <= 1


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(any), st.sampled_from([0.05, 0.01, 0.05 / 15]))
def test_interval_of_mcnemar_agrees_with_the_test(counts: tuple[int, int, int, int], level: float) -> None:
    """At any level the interval excludes 0 if and only if the exact test is significant, and holds the difference."""
    _, only_first, only_second, _ = counts
    first = np.repeat([True, True, False, False], counts)
    second = np.repeat([True, False, True, False], counts)
    test = mcnemar_test(first, second, level)
    low, high = test.interval
    assert (test.p < level) == (low > 0 or high < 0)
    assert low - 1e-9 <= (only_first - only_second) / sum(counts) <= high + 1e-9


@pytest.mark.farm
@settings(max_examples=10)
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.001, 0.01, 0.02]), min_size=1, max_size=20))
def test_holm_levels_decide_as_corrected_p_values(p_values: list[float]) -> None:
    """A p-value is below its level exactly where the corrected one is below 5%."""
    decisions = zip(p_values, holm_levels(p_values), holm_correction(p_values), strict=True)
    assert all((p < level) == (corrected < 0.05) or abs(corrected - 0.05) < 1e-9 for p, level, corrected in decisions)


def test_paired_difference_at_its_edges() -> None:
    """Without disagreement the interval is symmetric about 0; with all images on one side it is above 0.5."""
    low, high = paired_difference(Agreement(90, 0, 0, 10))
    assert low == pytest.approx(-high) and low < 0
    assert paired_difference(Agreement(0, 10, 0, 0)).low > 0.5
    with pytest.raises(ValueError, match="expected 0 to n of at least 1"):
        paired_difference(Agreement(0, 0, 0, 0))


def test_holm_by_hand() -> None:
    """Sorted p-values are multiplied by 3, 2 and 1, never fall, and are at most 1; an empty list stays empty."""
    assert holm_correction([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm_correction([0.9, 0.8]) == [1.0, 1.0]
    assert holm_correction([]) == []


def test_the_threshold_of_one_half_has_the_predictions() -> None:
    """At 0.50 two equal probabilities are negative, as in the predictions, and counts never rise with the threshold."""
    labels = np.array([0, 1, 1, 0, 1])
    probability = np.array([0.5, 0.5, 0.49, 0.50000006, 0.55], np.float32)
    predicted = np.stack([1 - probability, probability], axis=1).argmax(axis=1)
    counts = thresholds(labels, probability.astype(np.float64))
    found = counts.true_positives[49:52], counts.false_positives[49:52]
    assert found == ([3, 1, 1], [2, 1, 0])
    assert (found[0][1], found[1][1]) == (predicted[labels == 1].sum(), predicted[labels == 0].sum())
