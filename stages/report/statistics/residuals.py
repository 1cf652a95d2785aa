"""Errors of predicted values: the bias for each true value, and the shares within a distance."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import sem, t

from stages.report.formats import NOT_KNOWN, number
from stages.report.statistics.intervals import Interval, wilson_interval

MAX_VALUES = 20  # true values with a row each; more are divided into ranges
RANGES = 10


class ValueErrors(NamedTuple):
    """Errors of the samples whose true value lies from `low` to `high`."""

    low: float
    high: float
    indexes: npt.NDArray[np.intp]
    bias: float  # mean of predicted less true
    interval: Interval | None  # 95% interval of the bias (Student's t); None for a single sample
    error: float  # mean absolute error

    @property
    def name(self) -> str:
        """The true values."""
        return number(self.low) if self.low == self.high else f"{number(self.low)} to {number(self.high)}"

    @property
    def bias_text(self) -> str:
        """The bias with its sign."""
        return _signed(self.bias)

    @property
    def interval_text(self) -> str:
        """The interval of the bias."""
        return " to ".join(map(_signed, self.interval)) if self.interval else NOT_KNOWN


class Share(NamedTuple):
    """Share of the samples whose error is at most `distance`, with its 95% interval (Wilson)."""

    distance: float
    share: float
    interval: Interval


def by_value(labels: npt.NDArray[Any], values: npt.NDArray[Any]) -> list[ValueErrors]:
    """Returns the errors of `values` (n,) for each true value in `labels` (n,), or for ranges of many values."""
    true, residuals = labels.astype(np.float64), values.astype(np.float64) - labels.astype(np.float64)
    found = np.unique(true)
    if len(found) <= MAX_VALUES:
        groups = [np.flatnonzero(true == value) for value in found]
    else:
        edges = np.linspace(found[0], found[-1], RANGES + 1)
        numbers = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, RANGES - 1)
        groups = [indexes for part in range(RANGES) if len(indexes := np.flatnonzero(numbers == part))]
    return [_errors(true[indexes], residuals[indexes], indexes) for indexes in groups]


def _errors(true: npt.NDArray[Any], residuals: npt.NDArray[Any], indexes: npt.NDArray[np.intp]) -> ValueErrors:
    bias, n = float(residuals.mean()), len(residuals)
    interval = None
    if n > 1:
        margin = float(t.ppf(0.975, n - 1)) * float(sem(residuals))
        interval = Interval(bias - margin, bias + margin)
    return ValueErrors(float(true.min()), float(true.max()), indexes, bias, interval, float(np.abs(residuals).mean()))


def shares_within(errors: npt.NDArray[Any], distances: tuple[float, ...] = (0.5, 1)) -> list[Share]:
    """Returns the shares of absolute `errors` (n,) that are at most each of the distances."""
    counts = [int((errors <= distance).sum()) for distance in distances]
    return [
        Share(distance, hits / len(errors), wilson_interval(hits, len(errors)))
        for distance, hits in zip(distances, counts, strict=True)
    ]


def _signed(value: float) -> str:
    text = number(float(f"{value:.3g}"))
    return text if value <= 0 else f"+{text}"
