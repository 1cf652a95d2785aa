"""One model as the report knows it: what it was to be, how it learned, how it did on the test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import sem, t
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from stages.model.config import Model
from stages.model.tasks import Task, task_of
from stages.report.provenance import File
from stages.report.records import Exam, Training
from stages.report.statistics.intervals import Counts, Interval, Labels, Mask, confusion_matrix, wilson_interval
from stages.report.statistics.scores import Scores, score


@dataclass(frozen=True)
class Trained:
    """What every model has, whatever it answers."""

    name: str
    params: Model
    training: Training
    history: pd.DataFrame
    predictions: pd.DataFrame
    files: Mapping[str, File]  # those that training left, by name

    @property
    def onnx(self) -> File:
        """The model that ships, and was examined."""
        return self.files["model.onnx"]

    @property
    def labels(self) -> npt.NDArray[np.generic]:
        """What the model should say of each test image (n,)."""
        return self.predictions["label"].to_numpy()

    @property
    def task(self) -> Task:
        """What the model answers."""
        return task_of(self.params)


@dataclass(frozen=True)
class ModelFacts(Trained):
    """A model that names classes."""

    exam: Exam
    class_names: Sequence[str]

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.class_names)

    @cached_property
    def predicted(self) -> Labels:
        """The class that the model names for each test image (n,)."""
        return self.predictions["predicted"].to_numpy()

    @cached_property
    def right(self) -> Mask:
        """Whether each test image was read right, bool (n,)."""
        return np.asarray(self.labels == self.predicted)

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of each class (n, classes), each row with the sum 1."""
        raw = self.predictions[[f"p{number}" for number in range(self.classes)]].to_numpy(np.float64)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    @cached_property
    def interval(self) -> Interval:
        """95% interval of the test accuracy."""
        return wilson_interval(int(self.right.sum()), len(self.right))

    @cached_property
    def confusion(self) -> Counts:
        """Counts (classes, classes): actual by predicted."""
        return confusion_matrix(self.predictions["label"].to_numpy(), self.predicted, self.classes)

    @cached_property
    def scores(self) -> Scores:
        """Brier score, F1, calibration and the table of classes."""
        return score(self.predictions["label"].to_numpy(), self.predicted, self.probabilities)

    @property
    def training_accuracy(self) -> float:
        """Of the weights that were kept, without dropout; for a model that does not say, not a number."""
        return np.nan if self.training.train.accuracy is None else self.training.train.accuracy

    @property
    def gap(self) -> float:
        """Training accuracy less test accuracy, in percentage points."""
        return 100 * (self.training_accuracy - self.exam.accuracy)

    @property
    def overfits(self) -> bool:
        """Whether chance in drawing the test images does not explain the gap."""
        return self.training_accuracy > self.interval.high


@dataclass(frozen=True)
class ValueFacts(Trained):
    """A model that gives a value (regression)."""

    @property
    def labels(self) -> npt.NDArray[np.generic]:
        """The number to predict for each test image (n,)."""
        return self.predictions["target"].to_numpy()

    @property
    def values(self) -> npt.NDArray[np.generic]:
        """The number predicted for each test image (n,)."""
        return self.predictions["value"].to_numpy()

    @cached_property
    def all_right(self) -> bool:
        """Whether for every test image the label with the nearest number is the true one."""
        return bool((self.predictions["predicted"] == self.predictions["label"]).all())

    @cached_property
    def misses(self) -> npt.NDArray[np.float64]:
        """How far each prediction lies from the target (n,)."""
        return np.abs(self.values.astype(np.float64) - self.labels.astype(np.float64))

    @cached_property
    def mean_error(self) -> float:
        """Mean absolute error."""
        return float(mean_absolute_error(self.labels, self.values))

    @cached_property
    def root_error(self) -> float:
        """Root mean squared error."""
        return float(root_mean_squared_error(self.labels, self.values))

    @cached_property
    def explained(self) -> float:
        """R², the share of the targets' variance that is explained; not a number for a single image."""
        if len(self.predictions) < 2:  # it has no variance
            return np.nan
        return float(r2_score(self.labels, self.values))

    @cached_property
    def interval(self) -> Interval:
        """95% interval of the mean absolute error (Student's t)."""
        spread, n = float(sem(self.misses)) if len(self.misses) > 1 else 0.0, len(self.misses)
        reach = float(t.ppf(0.975, max(1, n - 1))) * spread
        return Interval(max(0.0, self.mean_error - reach), self.mean_error + reach)
