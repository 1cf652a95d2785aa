"""What a model says of the test samples, and how right it is: measures and tables for each task."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.model.tasks import Task

LEAST = 1e-7  # probability below which the loss does not grow any more


class Answers(NamedTuple):
    """Probabilities float32 (n, classes) of each sample, and the true labels, int32 (n,); of two_class 0 or 1."""

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int32]

    @property
    def predicted(self) -> NDArray[np.int32]:
        """The class with the largest probability, the first of equals (n,)."""
        predicted: NDArray[np.int32] = self.probabilities.argmax(axis=1).astype(np.int32)
        return predicted

    @property
    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each sample in natural units (n,)."""
        of_label = self.probabilities[np.arange(len(self.labels)), self.labels]
        losses: NDArray[np.float64] = -np.log(np.clip(of_label.astype(np.float64), LEAST, 1.0))
        return losses


class Values(NamedTuple):
    """Predicted numbers float32 (n,), the true labels, int32 (n,), and the number of each label (classes,)."""

    values: NDArray[np.float32]
    labels: NDArray[np.int32]
    numbers: NDArray[np.float64]

    @property
    def targets(self) -> NDArray[np.float64]:
        """The numbers to predict (n,)."""
        return self.numbers[self.labels]

    @property
    def predicted(self) -> NDArray[np.int32]:
        """The label whose number is nearest (n,)."""
        return Task("regression", values=tuple(self.numbers)).nearest(self.values, len(self.numbers)).astype(np.int32)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Squared error of each sample (n,)."""
        losses: NDArray[np.float64] = (self.values.astype(np.float64) - self.targets) ** 2
        return losses


AnyAnswers: TypeAlias = Answers | Values


def answers_of(outputs: NDArray[np.float32], labels: NDArray[Any], task: Task, classes: int) -> AnyAnswers:
    """What `outputs` (n, width) of an exported model mean, beside the labels (n,) of the data set."""
    known = task.labels(labels).astype(np.int32)
    if task.kind == "regression":
        return Values(outputs[:, 0], known, task.numbers(classes))
    return Answers(outputs, known)


def measure(answers: AnyAnswers, task: Task | None = None) -> dict[str, Any]:
    """Content of metrics.json: accuracy, mean loss, what else suits the task, and counts.

    The loss is the mean cross-entropy, of a regression the mean squared error. A predicted number counts as right when
    that of the label is the nearest, so that all models of a data set can be compared by their errors.
    """
    samples = len(answers.labels)
    correct = int((answers.predicted == answers.labels).sum())
    return {
        "accuracy": correct / samples,
        "loss": float(answers.losses.mean()),
        **_of_task(answers, task or Task()),
        "errors": samples - correct,
        "samples": samples,
    }


def _of_task(answers: AnyAnswers, task: Task) -> dict[str, float]:
    if isinstance(answers, Values):
        return {"mae": float(np.abs(answers.values.astype(np.float64) - answers.targets).mean())}
    if task.kind == "two_class":
        precision, recall, f1 = (float(values[1]) for values in class_scores(answers))
        return {"precision": precision, "recall": recall, "f1": f1}
    return {"macro_f1": macro_f1(answers)}


def class_scores(answers: Answers) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall and F1 of each class (classes,): TP / (TP + FP), TP / (TP + FN), and their harmonic mean.

    0 where a class is never said, or never there.
    """
    classes = answers.probabilities.shape[1]
    labels, predicted = answers.labels, answers.predicted
    each = (labels[predicted == labels], labels, predicted)
    true, actual, said = (np.bincount(which, minlength=classes) for which in each)
    return true / np.maximum(said, 1), true / np.maximum(actual, 1), 2 * true / np.maximum(actual + said, 1)


def macro_f1(answers: Answers) -> float:
    """Mean over the classes, of those that occur, of F1."""
    classes = answers.probabilities.shape[1]
    occur = np.bincount(np.concatenate([answers.labels, answers.predicted]), minlength=classes) > 0
    return float(class_scores(answers)[2][occur].mean())


def prediction_table(answers: AnyAnswers) -> Any:
    """Arrow table with one row a test sample.

    The probabilities of all classes are p0, p1, ...; a regression has its value and the target instead.
    """
    columns = {
        "index": np.arange(len(answers.labels), dtype=np.int32),
        "label": answers.labels,
        "predicted": answers.predicted,
    }
    if isinstance(answers, Values):
        own = {"value": answers.values, "target": answers.targets.astype(np.float32)}
        return pa.table({**columns, **own, "loss": answers.losses.astype(np.float32)})
    columns |= {
        "probability": answers.probabilities.max(axis=1),
        "loss": answers.losses.astype(np.float32),
        **{f"p{number}": column for number, column in enumerate(answers.probabilities.T)},
    }
    return pa.table(columns)
