"""When a loss diverges: one rule for the warnings of a training, its failure, and the mark in the report."""

import math

import numpy as np
from numpy.typing import NDArray

from stages.model.config import ModelBase
from stages.model.custom_code import is_code
from stages.model.tasks import sample_weights, task_of

MANY_TIMES = 1000.0  # above the scale of the loss: bad predictions have losses below it
PERCENTAGES = ("mean_absolute_percentage_error",)


def loss_bound(
    model: ModelBase,
    labels: NDArray[np.integer],
    classes: int,
    first_loss: float,
    weights: NDArray[np.float32] | None = None,
) -> float:
    """Returns the largest loss that does not diverge: MANY_TIMES the scale of the loss.

    The scale is 1 for classes, the variance of the values for regressions (at least 1), the loss of the first epoch for
    an own loss and for percentages, which a target near 0 makes large. The loss of the training part is the mean of the
    weighted losses, so a mean weight above 1 enlarges the first two.

    Args:
        model: its section of params.yaml.
        labels: those of the training part (n,).
        classes: number of classes of the data set.
        first_loss: loss of the first epoch.
        weights: of the samples of the training part (n,), if the data set has some.
    """
    if is_code(model.loss) or model.loss in PERCENTAGES:
        return MANY_TIMES * max(1.0, abs(first_loss))
    task, in_loss = task_of(model), sample_weights(labels.astype(np.int64), model, classes, weights)
    scale = float(task.label_values(classes)[labels].var()) if task.kind == "regression" else 1.0
    mean_weight = 1.0 if in_loss is None else float(in_loss.mean(dtype=np.float64))
    return MANY_TIMES * max(1.0, scale) * max(1.0, mean_weight)


def worst_loss(loss: float, val_loss: float) -> float:
    """Returns the larger of the losses on training and validation part; NaN where the training loss is NaN."""
    return loss if math.isnan(val_loss) or not loss <= val_loss else val_loss


def diverges(loss: float, val_loss: float, bound: float) -> bool:
    """Returns whether a loss of an epoch is not finite, or above `bound`; `val_loss` is NaN without validation part."""
    worst = worst_loss(loss, val_loss)
    return not math.isfinite(worst) or worst > bound
