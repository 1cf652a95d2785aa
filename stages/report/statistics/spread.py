"""Mean and standard deviation of the scores of several seeds."""

import math
from statistics import mean, stdev
from typing import NamedTuple


class Spread(NamedTuple):
    """Scores of the seeds of a model on one part of the data."""

    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the seeds."""
        return mean(self.scores)

    @property
    def deviation(self) -> float:
        """Standard deviation between seeds; NaN with a single seed."""
        return stdev(self.scores) if len(self.scores) > 1 else math.nan
