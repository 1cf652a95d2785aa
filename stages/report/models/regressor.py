"""A model that predicts values (regression)."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import sem, t
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from stages.report.formats import four_decimals, number
from stages.report.models.model_facts import Answer, Column, ModelFacts
from stages.report.statistics.intervals import Floats, Interval
from stages.report.statistics.paired_tests import SIGNIFICANT, PairedTest, paired_t_test
from stages.report.statistics.spread import Spread


@dataclass(frozen=True)
class Regressor(ModelFacts):
    """A model that predicts a value."""

    kind = "regressor"
    output = "a value"
    label_column = "target"
    answer_column = "value"
    larger_is_better = False
    metric_name = "mean absolute error"
    summary_columns = ("mean_absolute_error", "r2")
    score_name = "Mean absolute error"
    plot_metric = "r2"
    format_score = staticmethod(number)
    format_difference = staticmethod(number)
    difference_unit = ""
    test_name = "paired t test"
    columns = (
        Column("Root mean squared error", "root_mean_squared_error", number),
        Column("R²", "r2", four_decimals),
    )

    @property
    def values(self) -> npt.NDArray[Any]:
        """The predicted value of each test image (n,)."""
        return self.predictions["value"].to_numpy()

    @cached_property
    def absolute_errors(self) -> Floats:
        """Absolute error of each test image (n,)."""
        return np.abs(self.values.astype(np.float64) - self.labels.astype(np.float64))

    def image_scores(self, answers: npt.NDArray[Any]) -> Floats:
        """Returns the absolute error of each value, negative (n,)."""
        return -np.abs(answers.astype(np.float64) - self.labels.astype(np.float64))

    @property
    def validation_metric(self) -> Spread:
        """Mean absolute error of each seed on the validation part; NaN where the training does not record it."""
        return Spread(tuple(math.nan if part.mae is None else part.mae for part in self._validation_parts))

    @property
    def has_no_error(self) -> bool:
        """Whether all values are exact."""
        return self.score == 0

    @cached_property
    def score(self) -> float:
        """Mean absolute error."""
        return float(mean_absolute_error(self.labels, self.values))

    @cached_property
    def interval(self) -> Interval:
        """95% interval of the mean absolute error (Student's t)."""
        return mean_interval(self.absolute_errors)

    @cached_property
    def test_metrics(self) -> dict[str, Any]:
        """The figures on the test images, by their column in metrics.csv."""
        return {
            "mean_absolute_error": self.score,
            "mean_absolute_error_low": self.interval.low,
            "mean_absolute_error_high": self.interval.high,
            "root_mean_squared_error": float(root_mean_squared_error(self.labels, self.values)),
            "r2": float(r2_score(self.labels, self.values)) if len(self.labels) > 1 else np.nan,  # one has no variance
            "test_samples": len(self.labels),
        }

    def paired_test(self, other: "Regressor", level: float = SIGNIFICANT) -> PairedTest:
        """Returns the paired t test of the absolute errors against another regressor of the same values."""
        return paired_t_test(self.absolute_errors, other.absolute_errors, level)

    def answer(self, index: int | np.integer) -> Answer:
        """Returns the predicted value of the test image `index`."""
        label, value = number(float(self.labels[index])), number(float(self.values[index]))
        return Answer(int(index), label, value, bool(self.correct[index]))

    def worst_errors(self, limit: int) -> list[Answer]:
        """Returns the predictions with the largest absolute errors, largest first."""
        return [self.answer(index) for index in self.absolute_errors.argsort(kind="stable")[::-1][:limit]]


def mean_interval(errors: Floats) -> Interval:
    """Returns the 95% interval of the mean of absolute errors (n,), by Student's t; it never begins below 0.

    That of a single error is not known.
    """
    n, mean = len(errors), float(errors.mean())
    if n < 2:
        return Interval(math.nan, math.nan)
    margin = float(t.ppf(0.975, n - 1)) * float(sem(errors))
    return Interval(max(0.0, mean - margin), mean + margin)
