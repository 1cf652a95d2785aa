"""When a training stops, which epoch is kept, and the learning rate on a plateau: by the validation losses alone."""

import pytest

from stages.model.config import EarlyStopping
from stages.model.optimizer_config import Schedule
from stages.train.early_stopping import best_epoch, plateau_share, should_stop


@pytest.mark.parametrize(("losses", "best"), [([3.0], 0), ([3, 1, 2], 1), ([3, 1, 1], 1), ([1, 2, 0.5], 2)])
def test_the_best_epoch(losses: list[float], best: int) -> None:
    """The epoch with the lowest loss is kept, the first of equal ones."""
    assert best_epoch(losses) == best


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "stops"),
    [
        ([], 1, 0, False),
        ([3], 1, 0, False),
        ([3, 3], 1, 0, True),
        ([3, 2], 1, 0, False),
        ([3, 4], 2, 0, False),
        ([3, 4, 2], 2, 0, False),
        ([3, 4, 5], 2, 0, True),
        ([3, 4, 5, 2], 3, 0, False),  # waiting ends with a lower loss
        ([1, 3, 2], 2, 0, True),  # lower than the last one is not lower than the lowest
        ([3, 2.5], 1, 0.5, True),  # lower by exactly min_delta does not count
        ([3, 2.25], 1, 0.5, False),
        ([3, 2.75, 2.4], 2, 0.5, False),  # from the lowest that counted
        ([3, 2.75, 2.5], 2, 0.5, True),
    ],
)
def test_early_stopping(losses: list[float], patience: int, min_delta: float, stops: bool) -> None:
    """A training stops after `patience` epochs without a loss that is lower by more than `min_delta`."""
    assert should_stop(losses, EarlyStopping(patience=patience, min_delta=min_delta)) is stops
    assert not should_stop(losses, None)


@pytest.mark.parametrize(
    ("options", "losses", "shares"),
    [
        ({"patience": 1}, [2, 2, 2, 1, 1], [1, 0.5, 0.25, 0.25, 0.125]),
        ({"patience": 2}, [2, 2, 2, 2, 2], [1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1, "cooldown": 2}, [2, 2, 2, 2, 2, 2], [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        ({"patience": 2, "cooldown": 1}, [2, 2, 2, 2, 2, 2], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 2, "cooldown": 2}, [2, 2, 2, 2, 2, 2, 2], [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 2, "cooldown": 3}, [2, 2, 2, 1, 1, 1, 1, 1], [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "min_delta": 0.5}, [2, 1.5, 1.25], [1, 0.5, 0.5]),
        ({"patience": 1}, [2, 1.99995, 1.9998], [1, 0.5, 0.5]),  # 0.0001 by default
        ({"patience": 1, "min_delta": 0.0}, [2, 1.99995, 1.99995], [1, 1, 0.5]),
        ({"patience": 1, "end": 0.3}, [2, 2, 2, 2], [1, 0.5, 0.3, 0.3]),
        ({}, [2] * 12, [1] * 10 + [0.5, 0.5]),  # ten epochs by default
    ],
)
def test_the_learning_rate_on_a_plateau(options: dict[str, float], losses: list[float], shares: list[float]) -> None:
    """The rate is reduced after `patience` epochs without a lower loss; those of a cooldown but the last do not count,
    as in Keras.
    """
    schedule = Schedule.model_validate({"name": "reduce_on_plateau", "factor": 0.5, **options})
    found = [plateau_share(losses[: count + 1], schedule) for count in range(len(losses))]
    assert found == pytest.approx(shares)
