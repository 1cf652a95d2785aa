"""What a label means for a task, how a loss wants it written, and what the answers are called."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.model.compatibility import FITS, Encoding, TaskName
from stages.model.config import ModelBase

METADATA = "inkflow.task"  # keys in an exported model
CLASS_NAMES = "class_names"  # of the data set's labels
PIXELS = "pixels"  # values of black and white that the model takes


@dataclass(frozen=True)
class Task:
    """What a model answers: which label, whether the label is one of `positive`, or the number it stands for."""

    kind: TaskName = "multiclass"
    positive: tuple[int, ...] = ()
    values: tuple[float, ...] = ()  # of each label; the labels themselves when empty

    @property
    def output(self) -> str:
        """Name of the exported model's output."""
        return "values" if self.kind == "regression" else "probabilities"

    def width(self, classes: int) -> int:
        """Numbers that the exported model gives for an image of a data set with so many `classes`."""
        return {"multiclass": classes, "two_class": 2, "regression": 1}[self.kind]

    def classes(self, classes: int) -> int:
        """How many answers are told apart: of two_class the negative and the positive one."""
        return 2 if self.kind == "two_class" else classes

    def labels(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Labels (n,) of the data set as the task has them: of two_class 1 where it is positive, else 0."""
        if self.kind == "two_class":
            return np.isin(labels, self.positive).astype(np.int64)
        return labels.astype(np.int64)

    def numbers(self, classes: int) -> NDArray[np.float64]:
        """The number that each label stands for (classes,)."""
        return np.array(self.values or range(classes), np.float64)

    def nearest(self, values: NDArray[Any], classes: int) -> NDArray[np.int64]:
        """For each predicted value (n,) the label whose number is nearest, the first of equals."""
        distances = np.abs(values.astype(np.float64)[:, None] - self.numbers(classes))
        nearest: NDArray[np.int64] = distances.argmin(axis=1)
        return nearest

    def names(self, class_names: Sequence[str]) -> tuple[str, ...]:
        """Names of the answers that are told apart, from those of the data set's classes."""
        if self.kind != "two_class":
            return tuple(class_names)
        named = ", ".join(class_names[label] for label in self.positive)
        return (f"not {named}", named)

    def to_json(self) -> str:
        """For the metadata of an exported model."""
        return json.dumps({"kind": self.kind, "positive": self.positive, "values": self.values})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Task":
        """The task of an exported model; multi-class where nothing says else.

        Raises:
            ValueError: the entry is not what `to_json` writes.
        """
        try:
            content = json.loads(metadata.get(METADATA, "{}"))
            kind = content.get("kind", "multiclass")
            positive = tuple(int(label) for label in content.get("positive", ()))
            values = tuple(float(value) for value in content.get("values", ()))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"{METADATA} is not an object of lists") from error
        if kind not in FITS or (kind == "two_class") != bool(positive):
            raise ValueError(f"{METADATA} names no known task")
        return cls(kind, positive, values)


def task_of(model: ModelBase) -> Task:
    """The task that `model` is trained for."""
    return Task(model.task, tuple(model.positive or ()), tuple(model.values or ()))


def encoding_of(model: ModelBase) -> Encoding:
    """How the loss of `model` wants labels written."""
    return FITS[model.task][model.loss].encoding


def outputs_of(model: ModelBase, classes: int) -> int:
    """Width of the last layer, for a data set with so many `classes`."""
    return classes if model.task == "multiclass" else 1


def encode(labels: NDArray[np.int64], model: ModelBase, classes: int) -> NDArray[Any]:
    """Labels (n,) of the data set as the loss of `model` wants them.

    Returns:
        integer: int64 (n,). one_hot: float32 (n, classes) of 0 and 1. signs: float32 (n, classes) of -1 and 1.
        binary: float32 (n, 1) of 0 and 1. scalar: float32 (n, 1).
    """
    task, encoding = task_of(model), encoding_of(model)
    if encoding == "integer":
        return labels
    if encoding == "scalar":
        return task.numbers(classes).astype(np.float32)[labels][:, None]
    if encoding == "binary":
        return task.labels(labels).astype(np.float32)[:, None]
    written = np.eye(classes, dtype=np.float32)[labels]
    return 2 * written - 1 if encoding == "signs" else written


def class_weights(labels: NDArray[np.int64], model: ModelBase, classes: int) -> NDArray[np.float32] | None:
    """Weight of each class of the task in the loss, or None when all weigh 1.

    Balanced weights are n / (classes * samples of the class), 0 for a class without samples (King and Zeng, Logistic
    Regression in Rare Events Data, 2001). `labels` (n,) are those of the training samples.
    """
    if model.class_weights is not None:
        return np.array(model.class_weights, np.float32)
    if not model.balance:
        return None
    task = task_of(model)
    counts = np.bincount(task.labels(labels), minlength=task.classes(classes))
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts, weights, 0).astype(np.float32)


def sample_weights(
    labels: NDArray[np.int64], model: ModelBase, classes: int, own: NDArray[np.float32] | None = None
) -> NDArray[np.float32] | None:
    """Weight of each training sample (n,) in the loss: its `own` times that of its class; None when all weigh 1."""
    weights = class_weights(labels, model, classes)
    if weights is None:
        return own
    of_classes = weights[task_of(model).labels(labels)]
    return of_classes if own is None else of_classes * own
