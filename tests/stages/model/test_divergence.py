"""One rule tells when a loss diverges."""

import math

import numpy as np
import pytest

from stages.model.divergence import diverges, loss_bound
from tests.support.learning import make_model


def test_the_bound_follows_from_the_task() -> None:
    """Classes have the scale 1, values their variance in the training part, percentages and own losses epoch 1."""
    labels = np.array([0, 0, 1, 1])
    assert loss_bound(make_model(), labels, 2, 50.0) == 1000
    assert loss_bound(make_model(task="regression", values=[0.0, 0.1]), labels, 2, 50.0) == 1000
    assert loss_bound(make_model(task="regression", values=[0.0, 10.0]), labels, 2, 50.0) == pytest.approx(25_000)
    percentages = make_model(task="regression", loss="mean_absolute_percentage_error", values=[1.0, 2.0])
    assert loss_bound(percentages, labels, 2, 50.0) == 50_000


def test_weights_enlarge_the_bound() -> None:
    """A mean weight above 1, of samples, of classes or of both, enlarges the training loss, and so its bound."""
    labels, weights = np.array([0, 0, 1, 1]), np.array([0, 2, 4, 6], np.float32)
    assert loss_bound(make_model(), labels, 2, 50.0, weights) == 3_000
    assert loss_bound(make_model(), labels, 2, 50.0, weights / np.float32(10)) == 1_000
    weighted = make_model(class_weights=[0.0, 10.0, 0.0, 0.0])
    assert loss_bound(weighted, labels, 4, 50.0) == 5_000
    assert loss_bound(weighted, labels.astype(np.uint8), 4, 50.0, weights) == 25_000
    values = make_model(task="regression", values=[0.0, 10.0])
    assert loss_bound(values, labels, 2, 50.0, weights) == pytest.approx(75_000)
    own = make_model(task="regression", loss="mean_absolute_percentage_error", values=[1.0, 2.0])
    assert loss_bound(own, labels, 2, 50.0, weights) == 50_000  # the loss of the first epoch is weighted already


@pytest.mark.parametrize(
    ("loss", "val_loss", "expected"),
    [
        (1000.0, 1000.0, False),
        (1001.0, 0.1, True),
        (0.1, 1001.0, True),
        (0.1, math.nan, False),  # no validation part
        (1001.0, math.nan, True),
        (math.nan, 0.1, True),
        (math.inf, math.nan, True),
        (0.1, math.inf, True),
    ],
)
def test_either_loss_diverges(loss: float, val_loss: float, expected: bool) -> None:
    """A loss above the bound, or that is no finite number, diverges on the training part or the validation part."""
    assert diverges(loss, val_loss, 1000.0) == expected
