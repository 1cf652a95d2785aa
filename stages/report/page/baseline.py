"""The trivial answer: one answer to every sample, chosen on the training labels, which a useful model must beat."""

from typing import NamedTuple

import numpy as np

from stages.model.tasks import task_of
from stages.report.data_card import Data
from stages.report.facts import ModelGroup
from stages.report.formats import number
from stages.report.models.classifier import Classifier


class Baseline(NamedTuple):
    """The trivial answer as text, its score on the test samples, and the number of its errors (classes only)."""

    answer: str
    score: float
    errors: int | None


def baseline(group: ModelGroup, data: Data) -> Baseline:
    """Returns the trivial answer to the task of `group`: the most frequent class of the training part, or its mean."""
    best = group.best
    task, train = task_of(best.params), data.arrays.y_train
    if isinstance(best, Classifier):
        constant = int(np.bincount(task.task_labels(train)).argmax())
        wrong = best.labels != constant
        return Baseline(f"always {best.class_names[constant]}", 1 - float(wrong.mean()), int(wrong.sum()))
    mean = float(task.label_values(data.description.classes)[train].mean())
    return Baseline(f"the mean {number(mean)}", float(np.abs(best.labels.astype(np.float64) - mean).mean()), None)


def is_worse(group: ModelGroup, score: float, trivial: Baseline) -> bool:
    """Returns whether `score` is worse than that of the trivial answer."""
    return score < trivial.score if group.best.larger_is_better else score > trivial.score
