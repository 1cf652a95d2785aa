"""The trivial answer: the same answer to every sample, chosen on the training data, which a useful model must beat."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from stages.model.tasks import task_of
from stages.report.data_card import Data
from stages.report.formats import number
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.regressor import mean_interval
from stages.report.statistics.intervals import Floats, Interval, Mask, wilson_interval
from stages.report.statistics.paired_tests import SIGNIFICANT, PairedTest, can_differ, mcnemar_test, paired_t_test

NAME = "trivial answer"  # no name of a model has a space


@dataclass(frozen=True)
class TrivialAnswer:
    """The answer that has the best score among constant ones on the training data: a class, or the mean value."""

    answer: str  # as text: `1`, or `the mean 4.454`
    labels: npt.NDArray[Any]  # the true class or value of each test sample (n,)
    constant: float  # the class, or the value
    is_class: bool

    @property
    def title(self) -> str:
        """Heading of its row in a table of models."""
        return f"{NAME}: {self.answer}"

    @property
    def label(self) -> str:
        """The answer where nothing else says that it is always the same: `always 1`, or `the mean 4.454`."""
        return f"always {self.answer}" if self.is_class else self.answer

    @cached_property
    def correct(self) -> Mask:
        """Mask of the test samples for which the class is right (n,); for values, those without any error."""
        return np.asarray(self.labels == self.constant)

    @cached_property
    def absolute_errors(self) -> Floats:
        """Absolute error of the value for each test sample (n,)."""
        return np.abs(self.labels.astype(np.float64) - self.constant)

    @property
    def score(self) -> float:
        """Accuracy, or mean absolute error, on the test samples."""
        return float(self.correct.mean() if self.is_class else self.absolute_errors.mean())

    @cached_property
    def interval(self) -> Interval:
        """95% interval of the score."""
        if self.is_class:
            return wilson_interval(int(self.correct.sum()), len(self.correct))
        return mean_interval(self.absolute_errors)

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures on the test samples, by their column in metrics.csv."""
        low, high = self.interval
        if self.is_class:
            scores = {"test_accuracy": self.score, "test_accuracy_low": low, "test_accuracy_high": high}
            return scores | {"test_errors": self.errors, "test_samples": len(self.labels)}
        values = np.full(len(self.labels), self.constant)
        return {
            "mean_absolute_error": float(mean_absolute_error(self.labels, values)),
            "mean_absolute_error_low": low,
            "mean_absolute_error_high": high,
            "root_mean_squared_error": float(root_mean_squared_error(self.labels, values)),
            "r2": float(r2_score(self.labels, values)) if len(self.labels) > 1 else np.nan,
            "test_samples": len(self.labels),
        }

    @property
    def errors(self) -> int:
        """Number of test samples for which the answer is not exactly right."""
        return int((~self.correct).sum())

    def is_better_than(self, model: ModelFacts) -> bool:
        """Returns whether the score of this answer is better than that of `model`, by chance or not."""
        return self.score > model.score if self.is_class else self.score < model.score

    @property
    def can_be_beaten(self) -> bool:
        """Whether the test samples can show that a model is better: not even a perfect one is with 5 errors."""
        return can_differ(self.errors)

    def test(self, model: ModelFacts, level: float = SIGNIFICANT) -> PairedTest:
        """Tests `model` against this answer on the same test samples; a positive difference is one for the model."""
        if self.is_class:
            return mcnemar_test(model.correct, self.correct, level)
        return paired_t_test(-model.image_scores(model.predictions[model.answer_column].to_numpy()),
                             self.absolute_errors, level)  # fmt: skip

    def is_beaten_by(self, model: ModelFacts) -> bool:
        """Returns whether the test samples show that `model` is better."""
        test = self.test(model)
        return test.difference > 0 and test.p < SIGNIFICANT


def trivial_answer(model: ModelFacts, data: Data) -> TrivialAnswer:
    """Returns the trivial answer to the task of `model`: the most frequent class, or the mean, of the training data."""
    constant = task_of(model.params).constant_answer(data.arrays.y_train, data.description.classes)
    if isinstance(model, Classifier):
        return TrivialAnswer(model.class_names[int(constant)], model.labels, constant, is_class=True)
    return TrivialAnswer(f"the mean {number(constant)}", model.labels, constant, is_class=False)
