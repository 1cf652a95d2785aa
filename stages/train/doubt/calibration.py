"""Temperature scaling: one number by which logits are divided, so that probabilities are as large as they are right.

Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger: On Calibration of Modern Neural Networks, 2017.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

SMALLEST, LARGEST = 0.1, 10.0  # temperature
FEWEST = 50  # validation samples: of fewer, single answers would decide
TINY = 1e-37  # of a probability: float32 holds its logarithm


class Calibration(NamedTuple):
    """The temperature, the mean negative log-likelihood of the validation part without and with it, and a note."""

    temperature: float = 1.0
    loss_before: float | None = None
    loss_after: float | None = None
    note: str | None = None

    def record(self) -> dict[str, Any]:
        """Returns the entry of training.json, without what is not known."""
        return {key: value for key, value in self._asdict().items() if value is not None}


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Calibration:
    """Returns the temperature with the least negative log-likelihood of `labels` (n,) for `logits` (n, classes).

    Without a wrong answer the least would be at certainty, whatever the network says: then the temperature is 1.
    """
    before = _loss(1.0, logits, labels)
    if (logits.argmax(axis=1) == labels).all():
        return Calibration(1.0, before, before, "not calibrated: no answer on the validation images is wrong")
    if len(labels) < FEWEST:
        return Calibration(1.0, before, before, f"not calibrated: fewer than {FEWEST} validation images")
    bounds = (math.log(SMALLEST), math.log(LARGEST))
    result = optimize.minimize_scalar(
        lambda power: _loss(math.exp(power), logits, labels), bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    temperature = float(np.float32(math.exp(result.x)))
    after = _loss(temperature, logits, labels)
    if not after < before:
        return Calibration(1.0, before, before)
    return Calibration(temperature, before, after)


def _loss(temperature: float, logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    of_labels = scaled[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - of_labels))


def class_logits(result: Any, is_logits: bool, ops: Any) -> Any:
    """Returns logits (n, classes) whose softmax are the probabilities of a network's `result`, a softmax or logits.

    `ops` is keras.ops or NumPy.
    """
    return result if is_logits else ops.log(ops.maximum(result, TINY))


def two_logits(score: Any, ops: Any) -> Any:
    """Returns the logits (n, 2) of both classes for the `score` (n, 1), whose sigmoid is the second probability."""
    return ops.concatenate([-0.5 * score, 0.5 * score], axis=1)
