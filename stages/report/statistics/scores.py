"""How good a classifier's probabilities are, and how it does on each class; scikit-learn does the sums."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import brier_score_loss, f1_score, precision_recall_fscore_support

from stages.report.statistics.intervals import Labels, wilson_interval

BINS = 15  # of equal width, as in Guo et al. 2017


@dataclass(frozen=True)
class Scores:
    """What the probabilities come to on the test images."""

    brier: float  # summed over the classes: 0 is perfect, 2 the worst
    macro_f1: float
    calibration_error: float
    confidence: float  # the mean probability of the answers
    reliability: pd.DataFrame  # a row for each bin that holds an image, see `reliability`
    classes: pd.DataFrame  # a row for each class: precision, recall, f1, support


def score(labels: Labels, predicted: Labels, probabilities: npt.NDArray[np.float64]) -> Scores:
    """Scores of `probabilities` (n, classes), each row with the sum 1, for `labels` and `predicted` (n,)."""
    every = range(probabilities.shape[1])
    sure = probabilities.max(axis=1)
    bins = reliability(sure, labels == predicted)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0.0)
    return Scores(
        float(brier_score_loss(labels, probabilities, labels=list(every), scale_by_half=False)),
        float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        expected_calibration_error(bins),
        float(sure.mean()),
        bins,
        pd.DataFrame({"precision": precision, "recall": recall, "f1": f1, "support": support}),
    )


def reliability(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], bins: int = BINS) -> pd.DataFrame:
    """Mean confidence and share of right answers of the images whose top probability falls in each bin.

    Bins are (low, high], of equal width from 0 to 1; those without an image are left out.

    Returns:
        a row a bin: confidence, accuracy, images, low and high (its ends), low95 and high95 (the accuracy's, Wilson).
    """
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    answers = pd.DataFrame({"bin": numbers, "confidence": confidence.astype(np.float64), "accuracy": right})
    grouped = answers.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), images=("accuracy", "size")
    )
    edges = grouped.index.to_numpy()
    right_of_bin = np.rint(grouped["accuracy"] * grouped["images"]).astype(int)
    ends = [wilson_interval(int(few), int(n)) for few, n in zip(right_of_bin, grouped["images"], strict=True)]
    low95, high95 = zip(*ends, strict=True)
    found = grouped.assign(low=edges / bins, high=(edges + 1) / bins, low95=low95, high95=high95)
    return found.reset_index(drop=True)


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Mean distance of confidence and accuracy, each bin weighted by its images (Guo et al. 2017)."""
    return float(np.average((bins["confidence"] - bins["accuracy"]).abs(), weights=bins["images"]))
