"""Watches a training for a loss that diverges: warns, and fails if the kept weights have not recovered."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from stages.base.errors import InvalidInput
from stages.model.config import Model
from stages.model.divergence import diverges, loss_bound, worst_loss
from stages.model.tasks import Task, task_of
from stages.samples.prepared import Part, TrainingData
from stages.train.progress import Epoch

REMEDY = "choose a smaller optimizer.learning_rate, or set optimizer.clipnorm"


class DivergenceWatch:
    """Compares the losses of one training with what a loss can be, and its metric with that of the trivial answer."""

    def __init__(self, label: str, model: Model, data: TrainingData, history: Sequence[Epoch] = ()) -> None:
        """Creates the watch of a training that resumes after `history`."""
        self._label, self._is_regression = label, model.task == "regression"
        task, classes = task_of(model), data.prepared.classes
        held_out = data.validation if len(data.validation.labels) else data.train
        self._trivial = _trivial_metric(task, data.train, held_out, classes)
        bound_from = partial(loss_bound, model, data.train.labels, classes, weights=data.train.weights)
        self._bound_from = bound_from  # the loss of the first epoch
        self._bound = self._bound_from(history[0].loss if history else 0.0)
        self._is_warned = bool(history) and self._diverges(history[-1])

    def epoch(self, epoch: Epoch) -> None:
        """Warns when the loss begins to diverge."""
        if epoch.epoch == 1:
            self._bound = self._bound_from(epoch.loss)
        is_bad = self._diverges(epoch)
        if is_bad and not self._is_warned:
            print(
                f"warning: {self._label}: the loss diverges: {_worst(epoch):.3g} in epoch {epoch.epoch}; if it does "
                f"not recover, {REMEDY}",
                flush=True,
            )
        self._is_warned = is_bad

    def check(self, kept: Epoch) -> None:
        """Checks the epoch whose weights are kept.

        Raises:
            InvalidInput: its loss diverges, and its metric is not better than that of the trivial answer.
        """
        metric = kept.metric if math.isnan(kept.val_metric) else kept.val_metric
        is_better = metric < self._trivial if self._is_regression else metric > self._trivial
        if self._diverges(kept) and not is_better:
            name = "mean absolute error" if self._is_regression else "accuracy"
            answer = "mean" if self._is_regression else "most frequent class"
            raise InvalidInput(
                f"models.{self._label}: the training diverged and did not recover: the loss is {_worst(kept):.3g} in "
                f"epoch {kept.epoch}, whose weights are kept, and the {name} {metric:.4g}, expected a better one than "
                f"the {self._trivial:.4g} of always answering the {answer}; {REMEDY}"
            )

    def _diverges(self, epoch: Epoch) -> bool:
        return diverges(epoch.loss, epoch.val_loss, self._bound)


def _worst(epoch: Epoch) -> float:
    return worst_loss(epoch.loss, epoch.val_loss)


def _trivial_metric(task: Task, train: Part, held_out: Part, classes: int) -> float:
    """Returns accuracy or mean absolute error of the best constant answer of the training part, on `held_out`."""
    constant = task.constant_answer(train.labels, classes)
    if task.kind == "regression":
        return float(np.abs(task.label_values(classes)[held_out.labels] - constant).mean())
    return float((task.task_labels(held_out.labels) == constant).mean())
