"""Metrics of regressions: the label with the nearest value."""

import numpy as np

from stages.evaluate.metrics import compute_metrics, make_predictions, prediction_table
from stages.model.tasks import Task

PARITY = Task("regression", values=(0.0, 1.0, 0.0, 1.0))


def test_labels_of_equal_values_are_right() -> None:
    """A predicted value is right if the true value is the nearest one, although another label has this value too."""
    labels = np.array([0, 1, 2, 3, 2, 3])
    outputs = np.array([[0.1], [0.9], [-0.2], [1.3], [0.8], [0.4]], np.float32)
    predictions = make_predictions(outputs, labels, PARITY, 4)
    assert predictions.predicted.tolist() == [0, 1, 2, 3, 1, 0] and predictions.predicted.dtype == np.int32
    metrics = compute_metrics(predictions, PARITY)
    assert (metrics["accuracy"], metrics["errors"]) == (4 / 6, 2)
    assert prediction_table(predictions).column("predicted").to_pylist() == [0, 1, 2, 3, 1, 0]


def test_nearest_labels_of_different_values() -> None:
    """Without equal values the true labels change nothing: the nearest value decides, the first one on a tie."""
    values = np.array([0.4, 0.6, 1.5, 9.0, -3.0])
    for labels in (np.zeros(5, int), np.array([3, 2, 1, 0, 1], np.uint8)):
        assert Task("regression").nearest_labels(values, labels, 4).tolist() == [0, 1, 1, 3, 0]
