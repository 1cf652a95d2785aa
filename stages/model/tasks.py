"""Tasks: the meaning of labels and outputs, the encoding of labels for a loss, and sample weights."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.model.compatibility import COMPATIBLE_LOSSES, ENCODINGS, Encoding, TaskName
from stages.model.config import ModelBase
from stages.model.custom_code import is_code

METADATA = "inkflow.task"  # metadata keys of an exported model
CLASS_NAMES = "class_names"  # names of the labels of the data set
MAX_LABEL = 65_535  # more than any data set here has
KIND, VOCABULARY = "kind", "vocabulary"  # what a sample is, and the number of tokens; no entries for images
PICTURE_FORM = "picture_form"  # of the training's pictures; no entry for those that have MNIST's form
PIXELS = "pixels"  # pixel values of black and white in the input of the model
STAND_IN = "stand_in_for"  # data set for which that of the training is only a stand-in; no entry for any other


@dataclass(frozen=True)
class Task:
    """The prediction task of a model: the label, whether the label is one of `positive`, or the value of the label."""

    kind: TaskName = "multiclass"
    positive: tuple[int, ...] = ()
    values: tuple[float, ...] = ()  # of each label; empty means the labels themselves

    @property
    def output(self) -> str:
        """Name of the output of the exported model."""
        return "values" if self.kind == "regression" else "probabilities"

    def output_width(self, classes: int) -> int:
        """Numbers per image in the output of the exported model, for a data set with `classes` classes."""
        return {"multiclass": classes, "two_class": 2, "regression": 1}[self.kind]

    def class_count(self, classes: int) -> int:
        """Number of classes of the task, for a data set with `classes` classes; 2 for two_class."""
        return 2 if self.kind == "two_class" else classes

    def task_labels(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Converts labels (n,) of the data set to labels of the task; for two_class 1 if positive, else 0."""
        if self.kind == "two_class":
            return np.isin(labels, self.positive).astype(np.int64)
        return labels.astype(np.int64)

    def label_values(self, classes: int) -> NDArray[np.float64]:
        """The target value of each label (classes,)."""
        return np.array(self.values or range(classes), np.float64)

    def nearest_labels(self, values: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
        """The label with the nearest target value, for each predicted value (n,); the first label on a tie.

        Labels may have the same value: if it is that of the true label, in `labels` (n,), the answer is the true label.
        """
        numbers = self.label_values(classes)
        nearest = np.abs(values.astype(np.float64)[:, None] - numbers).argmin(axis=1)
        return np.where(numbers[nearest] == numbers[labels], labels, nearest).astype(np.int64)

    def constant_answer(self, labels: NDArray[Any], classes: int) -> float:
        """The trivial answer, from the labels (n,) of the training part: the most frequent class, or the mean value."""
        if self.kind == "regression":
            return float(self.label_values(classes)[labels].mean())
        return int(np.bincount(self.task_labels(labels)).argmax())

    def class_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of the classes of the task, from the class names of the data set."""
        if self.kind != "two_class":
            return tuple(names)
        positive = ", ".join(names[label] for label in self.positive)
        return (f"not {positive}", positive)

    def to_json(self) -> str:
        """Serialises the task for the metadata of an exported model."""
        return json.dumps({"kind": self.kind, "positive": self.positive, "values": self.values})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Task":
        """Reads the task from the metadata of an exported model; the default is multiclass.

        Raises:
            ValueError: the metadata has a task that `to_json` does not write.
        """
        try:
            content = json.loads(metadata.get(METADATA, "{}"))
            kind = content.get("kind", "multiclass")
            positive = tuple(content.get("positive", ()))
            values = tuple(float(value) for value in content.get("values", ()))
        except (AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{METADATA} is not an object of lists") from error
        if not all(type(label) is int and 0 <= label <= MAX_LABEL for label in positive):
            raise ValueError(f"{METADATA} has labels that are no whole numbers from 0 to {MAX_LABEL}")
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{METADATA} has values that are not finite")
        if not isinstance(kind, str) or kind not in COMPATIBLE_LOSSES or (kind == "two_class") != bool(positive):
            raise ValueError(f"{METADATA} names no known task")
        return cls(kind, positive, values)


def task_of(model: ModelBase) -> Task:
    """Returns the task of `model`."""
    return Task(model.task, tuple(model.positive or ()), tuple(model.values or ()))


def encoding_of(model: ModelBase) -> Encoding:
    """Returns the encoding of labels that the loss of `model` needs."""
    if is_code(model.loss):
        return ENCODINGS[model.task]
    return COMPATIBLE_LOSSES[model.task][model.loss].encoding


def outputs_of(model: ModelBase, classes: int) -> int:
    """Returns the width of the last layer, for a data set with `classes` classes."""
    return classes if model.task == "multiclass" else 1


def encode(labels: NDArray[np.int64], model: ModelBase, classes: int) -> NDArray[Any]:
    """Encodes labels (n,) of the data set for the loss of `model`.

    Returns:
        integer: int64 (n,). one_hot: float32 (n, classes) of 0 and 1. signs: float32 (n, classes) of -1 and 1.
        binary: float32 (n, 1) of 0 and 1. scalar: float32 (n, 1).
    """
    task, encoding = task_of(model), encoding_of(model)
    if encoding == "integer":
        return labels
    if encoding == "scalar":
        return task.label_values(classes).astype(np.float32)[labels][:, None]
    if encoding == "binary":
        return task.task_labels(labels).astype(np.float32)[:, None]
    one_hot = np.eye(classes, dtype=np.float32)[labels]
    return 2 * one_hot - 1 if encoding == "signs" else one_hot


def class_weights(labels: NDArray[np.int64], model: ModelBase, classes: int) -> NDArray[np.float32] | None:
    """Returns the weight of each class of the task in the loss, or None if all weights are 1.

    Balanced weights are n / (classes * samples of the class), and 0 for a class without samples (King and Zeng,
    Logistic Regression in Rare Events Data, 2001). `labels` (n,) are the labels of the training samples.
    """
    if model.class_weights is not None:
        return np.array(model.class_weights, np.float32)
    if not model.balance:
        return None
    task = task_of(model)
    counts = np.bincount(task.task_labels(labels), minlength=task.class_count(classes))
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts, weights, 0).astype(np.float32)


def sample_weights(
    labels: NDArray[np.int64], model: ModelBase, classes: int, weights: NDArray[np.float32] | None = None
) -> NDArray[np.float32] | None:
    """Returns the weight of each training sample (n,) in the loss, or None if all weights are 1.

    It is the product of the weight of the sample in `weights` and the weight of its class.
    """
    of_classes = class_weights(labels, model, classes)
    if of_classes is None:
        return weights
    of_labels = of_classes[task_of(model).task_labels(labels)]
    return of_labels if weights is None else of_labels * weights
