"""What is compared: for each statistic, the bins of its values, and one-sided tests of means of scores from 0 to 1."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.model.reference import CONFIDENCE, UNLIKE, Distribution, Reference
from stages.samples.image_statistics import STATISTICS
from stages.watch.bounds import distribution_distance, largest_share

RATE = 0.01  # chance that a model which sees what it has learned ever raises an alarm
REFERENCE_RISK = RATE / 2  # part of it for the limited number of validation samples; the rest is for the stream
CLASSES, UNSURE = "classes", "unsure"
MAX_CLASSES = 50  # with a test of their own; the others are one bin
OTHERS = "other classes"
TITLES = {
    CLASSES: "predicted classes",
    UNSURE: "unsure answers",
    CONFIDENCE: "confidence",
    UNLIKE: "unlikeness",
    "ink": "ink",
    "spread": "spread of brightness",
    "row": "vertical centre",
    "column": "horizontal centre",
    "sharpness": "sharpness",
}

Floats = NDArray[np.float64]


class MeanTest(NamedTuple):
    """The null hypothesis that the mean of a score is at most `bound`.

    Attributes:
        label: what is the matter if it is above, such as `higher`.
        scores: of each bin, from 0 to 1 (bins,).
        bound: what the mean is at most, according to the reference.
    """

    label: str
    scores: Floats
    bound: float


class Comparison(NamedTuple):
    """One statistic with its tests.

    Attributes:
        name: of the statistic.
        bins: names of the bins, of classes and unsure answers.
        edges: between the bins of a number; empty for classes and unsure answers.
        reference: validation samples in each bin.
        tests: what is tested.
    """

    name: str
    bins: tuple[str, ...]
    edges: tuple[float, ...]
    reference: tuple[int, ...]
    tests: tuple[MeanTest, ...]


def comparisons(
    reference: Reference, class_names: Sequence[str], level: int | None, unlikeness: bool
) -> list[Comparison]:
    """Returns what is compared for a model.

    Args:
        reference: of the model.
        class_names: of the model.
        level: index of the level of doubt that is in use; None if the model states no thresholds.
        unlikeness: whether the model measures it.
    """
    names = [name for name in (CONFIDENCE, UNLIKE, *STATISTICS) if name in reference.statistics]
    names = [name for name in names if name != UNLIKE or unlikeness]
    has_unsure = level is not None and level < len(reference.unsure)
    risk = REFERENCE_RISK / (len(names) + 1 + has_unsure)
    found = [_of_classes(reference, class_names, risk)]
    if has_unsure and level is not None:
        count = reference.unsure[level]
        bound = largest_share(count, reference.samples, risk)
        counts = (reference.samples - count, count)
        found.append(
            Comparison(UNSURE, ("sure", "unsure"), (), counts, (MeanTest("more", np.array([0.0, 1.0]), bound),))
        )
    return found + [_of_number(name, reference.statistics[name], risk) for name in names]


def watched_classes(reference: Reference) -> list[int]:
    """Returns the classes that have a test of their own: all, or the most frequent ones of many."""
    if len(reference.classes) <= MAX_CLASSES:
        return list(range(len(reference.classes)))
    return sorted(np.argsort(-np.array(reference.classes), kind="stable")[:MAX_CLASSES].tolist())


def stream_limit(number: int) -> float:
    """Returns the natural logarithm of the evidence at which one of `number` comparisons raises an alarm."""
    return math.log(number / (RATE - REFERENCE_RISK))


def _of_classes(reference: Reference, class_names: Sequence[str], risk: float) -> Comparison:
    watched = watched_classes(reference)
    names = [class_names[number] for number in watched]
    counts = [reference.classes[number] for number in watched]
    if len(watched) < len(reference.classes):
        names.append(OTHERS)
        counts.append(reference.samples - sum(counts))
    tests, each = [], risk / (2 * len(counts))
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        is_class = np.eye(len(counts))[number]
        tests.append(MeanTest(f"{name}: more often", is_class, largest_share(count, reference.samples, each)))
        rest = reference.samples - count
        tests.append(MeanTest(f"{name}: less often", 1 - is_class, largest_share(rest, reference.samples, each)))
    return Comparison(CLASSES, tuple(names), (), tuple(counts), tuple(tests))


def _of_number(name: str, item: Distribution, risk: float) -> Comparison:
    """Returns the tests of a number by its rank in the reference, from 0 to 1: a mean of 1/2 is expected."""
    shares = np.array(item.counts) / sum(item.counts)
    ranks = np.cumsum(shares) - shares / 2
    ends = np.abs(2 * ranks - 1)
    away = distribution_distance(sum(item.counts), risk)
    tests = (
        MeanTest("higher", ranks, 0.5 + away),
        MeanTest("lower", 1 - ranks, 0.5 + away),
        MeanTest("more at both ends", ends, float(shares @ ends) + 2 * away),  # its score falls and rises: twice as far
    )
    return Comparison(name, (), item.edges, item.counts, tests)
