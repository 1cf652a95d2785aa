"""Scores of a classifier: confusion matrix, Brier score, F1 and calibration, computed with scikit-learn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import brier_score_loss, f1_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from stages.report.statistics.intervals import Counts, Floats, Labels, Mask, wilson_interval

BINS = 15  # of equal width, as in Guo et al. 2017


class Confusion(NamedTuple):
    """Number of test images of the class `actual` predicted as `predicted`, and their share of the class."""

    actual: int
    predicted: int
    images: int
    share: float


@dataclass(frozen=True)
class Scores:
    """Scores of the probabilities on the test images."""

    brier: float  # summed over the classes: 0 is perfect, 2 the worst
    macro_f1: float
    calibration_error: float
    confidence: float  # the mean probability of the predicted classes
    reliability: pd.DataFrame  # a row for each bin that holds an image, see `reliability`
    classes: pd.DataFrame  # a row for each class: precision, recall, f1, support


def score(labels: Labels, predicted: Labels, probabilities: Floats) -> Scores:
    """Returns the scores of `probabilities` (n, classes), rows with the sum 1, for `labels` and `predicted` (n,)."""
    classes = range(probabilities.shape[1])
    confidence = probabilities.max(axis=1)
    bins = reliability(confidence, labels == predicted)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    return Scores(
        float(brier_score_loss(labels, probabilities, labels=list(classes), scale_by_half=False)),
        float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        expected_calibration_error(bins),
        float(confidence.mean()),
        bins,
        pd.DataFrame({"precision": precision, "recall": recall, "f1": f1, "support": support}),
    )


def reliability(confidence: npt.NDArray[np.floating], correct: Mask, bins: int = BINS) -> pd.DataFrame:
    """Returns mean confidence and accuracy of the images whose top probability falls in each bin.

    Bins are (low, high], of equal width from 0 to 1; empty bins are left out.

    Returns:
        A row for each bin: confidence, accuracy, images, low and high (the bin's ends), low95 and high95 (Wilson's
        interval of the accuracy).
    """
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    images = pd.DataFrame({"bin": numbers, "confidence": confidence.astype(np.float64), "accuracy": correct})
    grouped = images.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), images=("accuracy", "size")
    )
    edges = grouped.index.to_numpy()
    correct_counts = np.rint(grouped["accuracy"] * grouped["images"]).astype(int)
    ends = [wilson_interval(int(count), int(n)) for count, n in zip(correct_counts, grouped["images"], strict=True)]
    low95, high95 = zip(*ends, strict=True)
    table = grouped.assign(low=edges / bins, high=(edges + 1) / bins, low95=low95, high95=high95)
    return table.reset_index(drop=True)


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Returns the mean distance of confidence and accuracy, each bin weighted by its images (Guo et al. 2017)."""
    return float(np.average((bins["confidence"] - bins["accuracy"]).abs(), weights=bins["images"]))


def confusion_matrix(actual: Labels, predicted: Labels, classes: int) -> Counts:
    """Returns counts int64 (classes, classes): a row for each actual class, a column for each predicted class."""
    return np.asarray(sklearn_confusion_matrix(actual, predicted, labels=range(classes)), np.int64)


def frequent_confusions(matrix: Counts, limit: int) -> list[Confusion]:
    """Returns the largest counts off the diagonal, at most `limit`, largest first."""
    sums = matrix.sum(axis=1)
    cells = [
        Confusion(int(a), int(p), int(matrix[a, p]), float(matrix[a, p] / sums[a]))
        for a, p in np.argwhere(matrix)
        if a != p
    ]
    return sorted(cells, key=lambda cell: (-cell.images, cell.actual, cell.predicted))[:limit]
