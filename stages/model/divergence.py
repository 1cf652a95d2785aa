"""When a loss diverges: one rule for the warnings of a training, its failure, and the mark in the report."""

import math

import numpy as np
from numpy.typing import NDArray

from stages.model.config import ModelBase
from stages.model.custom_code import is_code
from stages.model.tasks import task_of

MANY_TIMES = 1000.0  # above the scale of the loss: bad predictions have losses below it
PERCENTAGES = ("mean_absolute_percentage_error",)


def loss_bound(model: ModelBase, labels: NDArray[np.integer], classes: int, first_loss: float) -> float:
    """Returns the largest loss that does not diverge: MANY_TIMES the scale of the loss.

    The scale is 1 for classes, the variance of the values for regressions (at least 1), the loss of the first epoch for
    an own loss and for percentages, which a target near 0 makes large. `labels` (n,) are those of the training part.
    """
    if is_code(model.loss) or model.loss in PERCENTAGES:
        return MANY_TIMES * max(1.0, abs(first_loss))
    task = task_of(model)
    is_regression = task.kind == "regression"
    return MANY_TIMES * (max(1.0, float(task.label_values(classes)[labels].var())) if is_regression else 1.0)


def worst_loss(loss: float, val_loss: float) -> float:
    """Returns the larger of the losses on training and validation part; NaN where the training loss is NaN."""
    return loss if math.isnan(val_loss) or not loss <= val_loss else val_loss


def diverges(loss: float, val_loss: float, bound: float) -> bool:
    """Returns whether a loss of an epoch is not finite, or above `bound`; `val_loss` is NaN without validation part."""
    worst = worst_loss(loss, val_loss)
    return not math.isfinite(worst) or worst > bound
