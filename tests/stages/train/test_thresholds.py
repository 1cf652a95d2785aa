"""The thresholds of doubt: chosen on validation images, so that a stated share of them is answered. Needs no Keras."""

import numpy as np
import pytest

from stages.model.doubt import LEVELS, METADATA, Doubt
from stages.train.doubt.thresholds import UNLIKE_SHARE, choose_thresholds


@pytest.mark.parametrize("samples", [1, 7, 100, 3000])
@pytest.mark.parametrize("with_unlikeness", [True, False])
def test_thresholds_keep_the_stated_share(samples: int, with_unlikeness: bool) -> None:
    """At each level, at most the share 1 - level is left out, and hardly less where the samples allow it."""
    random = np.random.default_rng(samples)
    probability, unlikeness = random.random(samples), random.normal(size=samples)
    doubt = choose_thresholds(1.0, probability, unlikeness if with_unlikeness else None)
    assert doubt.levels == LEVELS
    for level in (0.5, 0.9, 0.99, 0.992, 1.0):
        thresholds = doubt.thresholds(level)
        assert thresholds is not None
        out = probability < thresholds.probability
        if with_unlikeness:
            assert thresholds.unlikeness is not None
            out |= unlikeness > thresholds.unlikeness
        assert (1 - level) * samples - 6 <= out.sum() <= (1 - level) * samples + 1e-6


def test_a_share_between_two_levels_keeps_more() -> None:
    """A share without thresholds of its own gets those of the next larger one; no validation images, no thresholds."""
    doubt = choose_thresholds(1.0, np.linspace(0, 1, 1000), None)
    assert doubt.thresholds(0.9872) == doubt.thresholds(0.99)
    assert doubt.thresholds(0.9872) != doubt.thresholds(0.98)
    assert choose_thresholds(1.0, np.zeros(0), None).thresholds(0.99) is None
    assert Doubt.from_metadata({METADATA: doubt.to_json()}) == doubt
    assert Doubt.from_metadata({}) is None


def test_four_of_five_are_left_out_as_unlike() -> None:
    """Of the images left out, one is for its probability for each four for their unlikeness, the extreme ones first."""
    samples = 1000
    probability, unlikeness = np.linspace(0, 1, samples), np.linspace(9, 0, samples)
    probability = np.roll(probability, samples // 2)  # the least probable ones are in the middle of the unlike ones
    thresholds = choose_thresholds(1.0, probability, unlikeness).thresholds(0.9)
    assert thresholds is not None and thresholds.unlikeness is not None
    improbable, unlike = probability < thresholds.probability, unlikeness > thresholds.unlikeness
    assert (improbable.sum(), unlike.sum()) == (20, 80) and UNLIKE_SHARE == 4
    assert not (improbable & unlike).any()


def test_equal_images_are_kept_together() -> None:
    """Images of equal probability are all answered where not all of them may be left out; one level keeps them all."""
    doubt = choose_thresholds(1.0, np.array([0.5] * 90 + [0.9] * 10), None)
    for level, kept in ((0.5, 100), (0.05 + 0.85, 100), (1.0, 100)):
        thresholds = doubt.thresholds(level)
        assert thresholds is not None
        assert (np.array([0.5] * 90 + [0.9] * 10) >= thresholds.probability).sum() == kept
    single = choose_thresholds(1.0, np.array([0.1, 0.2, 0.3, 0.4]), None).thresholds(0.75)
    assert single is not None and 0.1 < single.probability <= 0.2


def test_a_threshold_is_passed_by_its_own_image() -> None:
    """A model computes with float32: the image at the threshold is answered although its probability is rounded."""
    probability, unlikeness = np.array([0.1, 1 / 3, 0.7, 0.9]), np.array([5.0, 4.0, 1 / 7, 0.1])
    for level in LEVELS:
        thresholds = choose_thresholds(2.5, probability, unlikeness).thresholds(level)
        assert thresholds is not None and thresholds.unlikeness is not None
        out = (np.float32(probability) < thresholds.probability) | (np.float32(unlikeness) > thresholds.unlikeness)
        assert out.sum() <= (1 - level) * 4
    assert choose_thresholds(2.5, probability, unlikeness).temperature == 2.5
