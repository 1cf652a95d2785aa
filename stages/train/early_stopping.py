"""Early stopping, the best epoch, the learning rate on a plateau: functions of the validation losses alone."""

from collections.abc import Sequence

from stages.model.config import EarlyStopping
from stages.model.optimizer_config import Schedule


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


def plateau_share(losses: Sequence[float], schedule: Schedule) -> float:
    """Returns the share of the first learning rate after epochs with these validation losses, as Keras reduces it.

    The share is multiplied by `factor` after `patience` epochs without a lower loss, then `cooldown` epochs pass that
    do not count; it stays at `end` or above.
    """
    patience, cooldown = schedule.patience or 10, schedule.cooldown or 0
    min_delta = 1e-4 if schedule.min_delta is None else schedule.min_delta
    share, lowest, waited, resting = 1.0, float("inf"), 0, 0
    for loss in losses:
        if resting:
            resting, waited = resting - 1, 0
        if loss < lowest - min_delta:
            lowest, waited = loss, 0
        elif not resting:
            waited += 1
            if waited >= patience:
                share, waited, resting = max(share * schedule.factor, schedule.end), 0, cooldown
    return share
