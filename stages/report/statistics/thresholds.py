"""Two classes by the threshold of the positive class's probability: counts, precision, recall, ROC and PR curves."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from stages.report.statistics.intervals import Floats, Interval, Labels, wilson_interval

STEPS = 100  # thresholds 0.00, 0.01 to 1.00
CURVE_POINTS = 120  # of each curve on the page


class Rate(NamedTuple):
    """A share of test samples with its 95% interval (Wilson); NaN with an unknown interval where there are none."""

    name: str
    meaning: str
    hits: int
    samples: int

    @property
    def share(self) -> float:
        """The share."""
        return self.hits / self.samples if self.samples else np.nan

    @property
    def interval(self) -> Interval | None:
        """The interval of the share."""
        return wilson_interval(self.hits, self.samples) if self.samples else None


@dataclass(frozen=True)
class Thresholds:
    """Counts of true and false positives at each threshold, and the curves; areas are NaN where a class is empty."""

    positives: int
    negatives: int
    true_positives: list[int]  # at 0.00, 0.01 to 1.00; a sample is positive from the threshold on, but above 0.50
    false_positives: list[int]
    roc: list[tuple[float, float]]  # false positive rate, recall
    pr: list[tuple[float, float]]  # recall, precision
    roc_area: float
    average_precision: float

    def rates(self, positive: str, threshold: int = STEPS // 2) -> list[Rate]:
        """Returns precision, recall and specificity at a threshold in hundredths."""
        true, false = self.true_positives[threshold], self.false_positives[threshold]
        return [
            Rate("Precision", f"of those predicted as {positive}, the share that is {positive}", true, true + false),
            Rate("Recall", f"of all that are {positive}, the share that is found", true, self.positives),
            Rate("Specificity", f"of all that are not {positive}, the share that is not predicted so",
                 self.negatives - false, self.negatives),
        ]  # fmt: skip


def thresholds(labels: Labels, probability: Floats) -> Thresholds:
    """Returns the counts and curves of `probability` (n,) of the positive class 1 of `labels` (n,).

    The counts at 0.50 are those of the predictions, whose answer to two equal probabilities is class 0.
    """
    positive = labels == 1
    steps = np.arange(STEPS + 1) / STEPS - 1e-9
    steps[STEPS // 2] += 2e-9
    true, false = (
        [int(n) for n in len(part) - np.searchsorted(part, steps)]
        for part in (np.sort(probability[positive]), np.sort(probability[~positive]))
    )
    roc: list[tuple[float, float]] = []
    pr: list[tuple[float, float]] = []
    roc_area = average = float("nan")
    if positive.any() and not positive.all():
        false_rate, recall, _ = roc_curve(labels, probability)
        roc = _thin(false_rate, recall)
        precision, found, _ = precision_recall_curve(labels, probability)
        pr = _thin(found[::-1], precision[::-1])
        roc_area = float(roc_auc_score(labels, probability))
        average = float(average_precision_score(labels, probability))
    return Thresholds(int(positive.sum()), int((~positive).sum()), true, false, roc, pr, roc_area, average)


def _thin(x: Floats, y: Floats) -> list[tuple[float, float]]:
    """Returns points of a curve, first and last included, thinned to `CURVE_POINTS` of equal length along the curve."""
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    wanted = np.searchsorted(length, np.linspace(0, length[-1], CURVE_POINTS))
    kept = sorted({0, len(x) - 1, *(int(index) for index in np.clip(wanted, 0, len(x) - 1))})
    return [(round(float(x[index]), 4), round(float(y[index]), 4)) for index in kept]
