"""A model that predicts classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.report.formats import count, four_decimals, percent, plural, points, share_points
from stages.report.models.model_facts import Answer, Cell, Column, ModelFacts
from stages.report.records import Evaluation
from stages.report.statistics.intervals import Counts, Floats, Interval, Labels, wilson_interval
from stages.report.statistics.paired_tests import SIGNIFICANT, PairedTest, mcnemar_test
from stages.report.statistics.scores import Scores, confusion_matrix, score
from stages.report.statistics.spread import Spread

RISE = 0.05  # of the validation loss after its lowest epoch, as a share of that: smaller rises are noise


@dataclass(frozen=True)
class Classifier(ModelFacts):
    """A model that predicts the probability of each class."""

    evaluation: Evaluation
    class_names: Sequence[str]

    kind = "classifier"
    output = "a class"
    label_column = "label"
    answer_column = "predicted"
    larger_is_better = True
    metric_name = "accuracy"
    summary_columns = ("test_accuracy", "test_loss")
    score_name = "Test accuracy"
    plot_metric = "test_accuracy"
    format_score = staticmethod(percent)
    format_difference = staticmethod(share_points)
    difference_unit = " points"
    test_name = "McNemar"
    columns = (
        Column("Errors", "test_errors", count),
        Column("Log-loss", "test_loss", four_decimals),
        Column("Brier", "brier", four_decimals),
        Column("Calibration error", "calibration_error", four_decimals),
        Column("Training accuracy", "training_accuracy", percent),
        Column("Gap (points)", "gap_points", points),
    )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def predicted(self) -> Labels:
        """The predicted class of each test image (n,)."""
        return self.predictions["predicted"].to_numpy()

    @cached_property
    def confidence(self) -> Floats:
        """Probability of the predicted class of each test image (n,)."""
        return self.predictions["probability"].to_numpy()

    @cached_property
    def probabilities(self) -> Floats:
        """Probability of each class (n, classes), normalised to the sum 1 in each row."""
        raw = self.predictions[[f"p{number}" for number in range(self.classes)]].to_numpy(np.float64)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    def image_scores(self, answers: npt.NDArray[Any]) -> Floats:
        """Returns 1 for each right class, and 0 for each wrong one (n,)."""
        return np.asarray(answers == self.labels, np.float64)

    @property
    def validation_metric(self) -> Spread:
        """Validation accuracy of each seed; NaN where the training does not record it."""
        scores = (part.accuracy for part in self._validation_parts)
        return Spread(tuple(math.nan if score is None else score for score in scores))

    @property
    def score(self) -> float:
        """Test accuracy."""
        return self.evaluation.accuracy

    @cached_property
    def interval(self) -> Interval:
        """95% interval of the test accuracy (Wilson)."""
        return wilson_interval(int(self.correct.sum()), len(self.correct))

    @cached_property
    def confusion(self) -> Counts:
        """Confusion matrix (classes, classes): actual by predicted class."""
        return confusion_matrix(self.labels, self.predicted, self.classes)

    @cached_property
    def scores(self) -> Scores:
        """Brier score, F1, calibration, and the scores of each class."""
        return score(self.labels, self.predicted, self.probabilities)

    @property
    def training_accuracy(self) -> float:
        """Training accuracy of the kept weights without dropout; NaN where the training does not record it."""
        return np.nan if self.training.train.accuracy is None else self.training.train.accuracy

    @property
    def gap_points(self) -> float:
        """Training accuracy minus test accuracy, in percentage points."""
        return 100 * (self.training_accuracy - self.evaluation.accuracy)

    @property
    def gap_interval(self) -> Interval:
        """95% interval of the gap in percentage points, which follows from that of the test accuracy."""
        return Interval(*(100 * (self.training_accuracy - end) for end in reversed(self.interval)))

    @property
    def overfitting(self) -> str:
        """A note where the gap's interval lies above 0 and the validation loss rose by the kept epoch; else empty."""
        losses = self.history["val_loss"].to_numpy()[: self.training.kept_epoch]
        known = losses[~np.isnan(losses)]
        rose = known.size and losses[-1] - known.min() > RISE * abs(known.min())  # NaN is not above it
        return "over-fits" if rose and self.gap_interval.low > 0 else ""

    @property
    def test_metrics(self) -> dict[str, Any]:
        """The figures on the test images, by their column in metrics.csv."""
        return {
            "test_accuracy": self.evaluation.accuracy,
            "test_accuracy_low": self.interval.low,
            "test_accuracy_high": self.interval.high,
            "test_loss": self.evaluation.loss,
            "test_errors": self.evaluation.errors,
            "test_samples": self.evaluation.samples,
            "brier": self.scores.brier,
            "macro_f1": self.scores.macro_f1,
            "calibration_error": self.scores.calibration_error,
            "training_accuracy": self.training_accuracy,
            "gap_points": self.gap_points,
        }

    def paired_test(self, other: "Classifier", level: float = SIGNIFICANT) -> PairedTest:
        """Returns the exact McNemar test against another classifier of the same test images."""
        return mcnemar_test(self.correct, other.correct, level)

    def answer(self, index: int | np.integer) -> Answer:
        """Returns the predicted class of the test image `index`, with its probability."""
        label, predicted = self.class_names[self.labels[index]], self.class_names[self.predicted[index]]
        return Answer(int(index), label, predicted, bool(self.correct[index]), float(self.confidence[index]))

    def worst_errors(self, limit: int) -> list[Answer]:
        """Returns the errors with the largest loss, largest first; of equal ones the earlier image."""
        losses = self.predictions["loss"].to_numpy()
        wrong = np.flatnonzero(~self.correct)
        return [self.answer(index) for index in wrong[np.argsort(-losses[wrong], kind="stable")][:limit]]

    @property
    def errors_text(self) -> str:
        """The number of wrong predictions."""
        return plural(self.evaluation.errors, "error")

    @property
    def test_cells(self) -> list[Cell]:
        """The figures on the test images in the table of models, the gap with its interval and a note."""
        *cells, gap = super().test_cells
        low, high = (points(end).removeprefix("+") for end in self.gap_interval)
        ends = "" if np.isnan(self.gap_points) else f"{low} to {high}"
        return [*cells, gap._replace(note=self.overfitting, ends=ends)]
