"""Early stopping and the best epoch: functions of the validation losses alone."""

from collections.abc import Sequence

from stages.model.config import EarlyStopping


def best_epoch(losses: Sequence[float]) -> int:
    """Returns the index of the epoch with the lowest validation loss, the first of equal ones."""
    return min(range(len(losses)), key=losses.__getitem__)


def should_stop(losses: Sequence[float], early_stopping: EarlyStopping | None) -> bool:
    """Returns whether the last `patience` of these validation losses, one per epoch, brought no lower one.

    A loss counts as lower if it is below the lowest so far by more than `min_delta`, as in Keras.
    """
    if early_stopping is None:
        return False
    lowest, waited = float("inf"), 0
    for loss in losses:
        lower = loss < lowest - early_stopping.min_delta
        lowest, waited = (loss, 0) if lower else (lowest, waited + 1)
    return waited >= early_stopping.patience
