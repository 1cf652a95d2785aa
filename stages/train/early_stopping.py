"""When a training ends, and which epoch's weights it keeps: functions of the validation losses alone."""

from collections.abc import Sequence

from stages.model.config import EarlyStopping


def best_epoch(losses: Sequence[float]) -> int:
    """Index of the epoch with the lowest validation loss, the first of equals."""
    return min(range(len(losses)), key=losses.__getitem__)


def should_stop(losses: Sequence[float], chosen: EarlyStopping | None) -> bool:
    """Whether the last `patience` of these validation losses, one an epoch, brought nothing lower.

    A loss counts as lower when it is below the lowest so far by more than `min_delta`, as in Keras.
    """
    if chosen is None:
        return False
    lowest, waited = float("inf"), 0
    for loss in losses:
        lower = loss < lowest - chosen.min_delta
        lowest, waited = (loss, 0) if lower else (lowest, waited + 1)
    return waited >= chosen.patience
