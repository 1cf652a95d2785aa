"""Exponential smoothing of learning curves."""

import math

import pandas as pd


def smooth(values: pd.Series, factor: float) -> pd.Series:
    """Returns the exponentially smoothed values, corrected for their start.

    s[i] = factor s[i-1] + (1 - factor) x[i] from s = 0, divided by 1 - factor^i, so that each value is a mean of the
    values so far (Kingma and Ba 2015, section 3).
    """
    return values.ewm(alpha=1 - factor, adjust=True, ignore_na=True).mean()


def min_smoothed_epochs(factor: float) -> int:
    """Returns the number of epochs from which a smoothed curve is drawn: twice the 1 / (1 - factor) of its memory.

    Even the last value of a shorter curve would mostly show the steep start, which misleads.
    """
    return math.ceil(2 / (1 - factor) - 1e-9)
