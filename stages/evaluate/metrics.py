"""Predictions of a model for the test samples, and their metrics and table, for each task."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.model.tasks import Task

MIN_PROBABILITY = 1e-7  # lower probabilities count as this one in the loss


class ClassPredictions(NamedTuple):
    """Probabilities float32 (n, classes), and the true labels int32 (n,); for two_class 0 or 1."""

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int32]

    @property
    def predicted(self) -> NDArray[np.int32]:
        """The class with the largest probability, the first of equal ones (n,)."""
        predicted: NDArray[np.int32] = self.probabilities.argmax(axis=1).astype(np.int32)
        return predicted

    @property
    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each sample in nats (n,)."""
        of_label = self.probabilities[np.arange(len(self.labels)), self.labels]
        losses: NDArray[np.float64] = -np.log(np.clip(of_label.astype(np.float64), MIN_PROBABILITY, 1.0))
        return losses


class RegressionPredictions(NamedTuple):
    """Predicted numbers float32 (n,), the true labels int32 (n,), and the number of each label (classes,)."""

    values: NDArray[np.float32]
    labels: NDArray[np.int32]
    numbers: NDArray[np.float64]

    @property
    def targets(self) -> NDArray[np.float64]:
        """The true numbers (n,)."""
        return self.numbers[self.labels]

    @property
    def predicted(self) -> NDArray[np.int32]:
        """The label with the nearest number (n,): the true one, if it has this number as others have."""
        task = Task("regression", values=tuple(self.numbers))
        return task.nearest_labels(self.values, self.labels, len(self.numbers)).astype(np.int32)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Squared error of each sample (n,)."""
        losses: NDArray[np.float64] = (self.values.astype(np.float64) - self.targets) ** 2
        return losses


Predictions: TypeAlias = ClassPredictions | RegressionPredictions


def make_predictions(outputs: NDArray[np.float32], labels: NDArray[Any], task: Task, classes: int) -> Predictions:
    """Returns the predictions from the `outputs` (n, width) of an exported model and the data set's labels (n,)."""
    task_labels = task.task_labels(labels).astype(np.int32)
    if task.kind == "regression":
        return RegressionPredictions(outputs[:, 0], task_labels, task.label_values(classes))
    return ClassPredictions(outputs, task_labels)


def compute_metrics(predictions: Predictions, task: Task | None = None) -> dict[str, Any]:
    """Returns the content of metrics.json: accuracy, mean loss, the metrics of the task, and counts.

    The loss is the mean cross-entropy, for a regression the mean squared error. A predicted number is correct if the
    label's number is the nearest one, so that all models of a data set can be compared by their errors.
    """
    samples = len(predictions.labels)
    correct = int((predictions.predicted == predictions.labels).sum())
    return {
        "accuracy": correct / samples,
        "loss": float(predictions.losses.mean()),
        **_task_metrics(predictions, task or Task()),
        "errors": samples - correct,
        "samples": samples,
    }


def _task_metrics(predictions: Predictions, task: Task) -> dict[str, float]:
    if isinstance(predictions, RegressionPredictions):
        return {"mae": float(np.abs(predictions.values.astype(np.float64) - predictions.targets).mean())}
    if task.kind == "two_class":
        precision, recall, f1 = (float(values[1]) for values in class_scores(predictions))
        return {"precision": precision, "recall": recall, "f1": f1}
    return {"macro_f1": macro_f1(predictions)}


def class_scores(predictions: ClassPredictions) -> tuple[NDArray[np.float64], ...]:
    """Returns precision, recall and F1 of each class (classes,): TP / (TP + FP), TP / (TP + FN), harmonic mean.

    A score is 0 for a class that is never predicted, or that no sample has.
    """
    classes = predictions.probabilities.shape[1]
    labels, predicted = predictions.labels, predictions.predicted
    groups = (labels[predicted == labels], labels, predicted)
    true, actual, positive = (np.bincount(group, minlength=classes) for group in groups)
    return true / np.maximum(positive, 1), true / np.maximum(actual, 1), 2 * true / np.maximum(actual + positive, 1)


def macro_f1(predictions: ClassPredictions) -> float:
    """Returns the mean F1 of the classes that occur among the labels or the predictions."""
    classes = predictions.probabilities.shape[1]
    occur = np.bincount(np.concatenate([predictions.labels, predictions.predicted]), minlength=classes) > 0
    return float(class_scores(predictions)[2][occur].mean())


def prediction_table(predictions: Predictions, by_seed: Mapping[int, Predictions] | None = None) -> Any:
    """Returns an Arrow table with one row per test sample.

    The probabilities of all classes are p0, p1, ...; a regression has the value and the target instead. For each seed
    in `by_seed` there is a column seed_0, seed_1, ... with the predicted class or value of its model.
    """
    columns = {
        "index": np.arange(len(predictions.labels), dtype=np.int32),
        "label": predictions.labels,
        "predicted": predictions.predicted,
    }
    seeds = {f"seed_{seed}": seed_answers(each) for seed, each in (by_seed or {}).items()}
    losses = predictions.losses.astype(np.float32)
    if isinstance(predictions, RegressionPredictions):
        targets = predictions.targets.astype(np.float32)
        return pa.table({**columns, "value": predictions.values, "target": targets, "loss": losses, **seeds})
    probabilities = {f"p{number}": column for number, column in enumerate(predictions.probabilities.T)}
    confidence = {"probability": predictions.probabilities.max(axis=1)}
    return pa.table({**columns, **confidence, "loss": losses, **probabilities, **seeds})


def seed_answers(predictions: Predictions) -> NDArray[Any]:
    """Returns the predicted values (n,) of a regression, else the predicted classes (n,)."""
    return predictions.values if isinstance(predictions, RegressionPredictions) else predictions.predicted
