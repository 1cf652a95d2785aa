"""The interface of a trained model: its files, its figures on the test images, and their texts."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.model.compatibility import TaskName
from stages.model.config import Model
from stages.report.formats import count, ends_text, file_size
from stages.report.provenance import FileDigest
from stages.report.records import PartScores, Training
from stages.report.statistics.intervals import Floats, Interval, Mask
from stages.report.statistics.paired_tests import SIGNIFICANT, PairedTest
from stages.report.statistics.spread import Spread

TASKS: tuple[TaskName, ...] = ("multiclass", "two_class", "regression")  # in the order of the report
UNKNOWN = "–"  # noqa: RUF001 - a dash instead of a figure


class Column(NamedTuple):
    """A column of the table of models."""

    heading: str
    metric: str  # its name in metrics.csv
    format: Callable[[float], str]


class Cell(NamedTuple):
    """A figure of a model in the table of models."""

    heading: str
    text: str
    value: float  # the key to sort by
    note: str = ""
    ends: str = ""  # of the figure's interval
    role: str = "n"  # its class on the page: `score` and `range` are the score with its interval, `n` a number


@dataclass(frozen=True)
class Answer:
    """A test image with its label and a prediction, as text."""

    index: int
    label: str
    predicted: str
    correct: bool = False
    probability: float | None = None  # of the predicted class; None for values


@dataclass(frozen=True)
class ModelFacts(ABC):
    """A trained model with its predictions of the test images; a subclass for each kind of prediction."""

    name: str
    params: Model
    training: Training
    history: pd.DataFrame
    predictions: pd.DataFrame
    files: Mapping[str, FileDigest]  # files of the training stage, by name
    noun: str = field(default="image", kw_only=True)  # what a sample of the data set is

    kind: ClassVar[str]  # name of the template that shows a model of this class
    output: ClassVar[str]
    label_column: ClassVar[str]  # of the predictions
    answer_column: ClassVar[str]  # of the predictions: the predicted class or value
    larger_is_better: ClassVar[bool]  # of the score
    metric_name: ClassVar[str]  # the score, without its part of the data
    summary_columns: ClassVar[tuple[str, ...]]  # figures on the test images in models.json
    score_name: ClassVar[str]
    plot_metric: ClassVar[str]  # the column of metrics.csv in DVC's plot of all models: at most 1, larger is better
    format_score: ClassVar["staticmethod[[float], str]"]
    format_difference: ClassVar["staticmethod[[float], str]"]  # of two scores, without the unit
    difference_unit: ClassVar[str]
    test_name: ClassVar[str]  # of the paired test
    columns: ClassVar[tuple[Column, ...]]  # figures on the test images in the table of models, beside the score

    @property
    def onnx(self) -> FileDigest:
        """The exported model, which was evaluated."""
        return self.files["model.onnx"]

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The true class or value of each test image (n,)."""
        return self.predictions[self.label_column].to_numpy()

    @cached_property
    def correct(self) -> Mask:
        """Mask of the correct predictions, bool (n,); a value is correct when its nearest label is the true one."""
        return np.asarray(self.predictions["label"] == self.predictions["predicted"])

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds with which the model was trained, in order; none for a model with a single `seed`."""
        return tuple(sorted(map(int, self.training.seeds or ())))

    @cached_property
    def seed_scores(self) -> Floats:
        """Score of each seed, or of the only weights, on each test image (seeds, n); larger is better."""
        columns = [f"seed_{seed}" for seed in self.seeds] or [self.answer_column]
        return np.stack([self.image_scores(self.predictions[column].to_numpy()) for column in columns])

    @abstractmethod
    def image_scores(self, answers: npt.NDArray[Any]) -> Floats:
        """Returns the score of each of the answers (n,) to the test images, larger for better."""

    @property
    def group_key(self) -> tuple[int, bytes]:
        """Sort key of the task and the labels, equal for models that can be compared."""
        return TASKS.index(self.training.task), self.labels.tobytes()

    @property
    def score_spread(self) -> Spread:
        """Score of each seed on the test images."""
        sign = 1 if self.larger_is_better else -1
        return Spread(tuple(sign * float(score) for score in self.seed_scores.mean(axis=1)))

    @property
    def validation_loss(self) -> Spread:
        """Validation loss of each seed."""
        return Spread(tuple(part.loss for part in self._validation_parts))

    @property
    @abstractmethod
    def validation_metric(self) -> Spread:
        """Validation accuracy, or mean absolute error, of each seed; NaN where the training does not record it."""

    @property
    def _validation_parts(self) -> Sequence[PartScores]:
        seeds = self.training.seeds or {}
        return tuple(seeds[str(seed)] for seed in self.seeds) or (self.training.validation,)

    @property
    def has_no_error(self) -> bool:
        """Whether the predictions of all test images are exact."""
        return bool(self.correct.all())

    @property
    @abstractmethod
    def score(self) -> float:
        """The main figure on the test images."""

    @property
    @abstractmethod
    def interval(self) -> Interval:
        """95% interval of the score."""

    @property
    @abstractmethod
    def test_metrics(self) -> dict[str, Any]:
        """The figures on the test images, by their column in metrics.csv."""

    @property
    def metrics(self) -> dict[str, Any]:
        """All figures, by their column in metrics.csv."""
        name = f"validation_{self.metric_name.replace(' ', '_')}"
        return {
            "validation_loss": self.validation_loss.mean,
            name: self.validation_metric.mean,
            **self.test_metrics,
            **(self._seed_metrics if self.seeds else {}),
            "training_loss": self.training.train.loss,
            "parameters": self.training.parameters,
            "onnx_bytes": self.onnx.size,
        }

    @property
    def _seed_metrics(self) -> dict[str, float]:
        """The figures of a model with several seeds, by their column in metrics.csv."""
        return {
            "seeds": len(self.seeds),
            "validation_loss_deviation": self.validation_loss.deviation,
            "seeds_test_mean": self.score_spread.mean,
            "seeds_test_deviation": self.score_spread.deviation,
        }

    @property
    def summary_metrics(self) -> dict[str, float]:
        """The few figures of models.json, those that may choose first."""
        names = ("validation_loss", f"validation_{self.metric_name.replace(' ', '_')}", *self.summary_columns)
        return {name: self.metrics[name] for name in names}

    @abstractmethod
    def paired_test(self, other: Self, level: float = SIGNIFICANT) -> PairedTest:
        """Tests this model against another one on the same test images, at the significance `level`."""

    @abstractmethod
    def answer(self, index: int | np.integer) -> Answer:
        """Returns the prediction of the test image `index`."""

    @abstractmethod
    def worst_errors(self, limit: int) -> list[Answer]:
        """Returns the worst errors, at most `limit`, worst first."""

    @property
    def interval_text(self) -> str:
        """The 95% interval of the score."""
        return ends_text(self.interval, self.format_score)

    @property
    def result(self) -> str:
        """The score as the predicate of a sentence."""
        return f"has a {self.score_name.lower()} of {self.format_score(self.score)}"

    @property
    def errors_text(self) -> str:
        """The errors on the test images."""
        return f"{self.score_name.lower()} {self.format_score(self.score)}"

    @property
    def suspicion(self) -> str | None:
        """A warning about a result that is too good to be true; None for other results."""
        if not (self.correct.all() or self.has_no_error):
            return None
        perfect = "no error at all" if self.has_no_error else "every label right"
        return f"{perfect} is suspicious: look for test {self.noun}s among the training {self.noun}s"

    @property
    def test_cells(self) -> list[Cell]:
        """The figures on the test images in the table of models, score and interval first."""
        figures = [(column, self.test_metrics[column.metric]) for column in self.columns]
        return [
            Cell(self.score_name, self.format_score(self.score), self.score, role="score"),
            Cell("95% interval", self.interval_text, self.interval.low, role="range"),
            *(Cell(column.heading, UNKNOWN if math.isnan(x) else column.format(x), x) for column, x in figures),
        ]

    @property
    def cells(self) -> list[Cell]:
        """The row of the model in the table of models."""
        return [
            *self.test_cells,
            Cell("Epochs", count(self.training.epochs), self.training.epochs),
            Cell("Parameters", count(self.training.parameters), self.training.parameters),
            Cell("Size", file_size(self.onnx.size), self.onnx.size),
        ]
