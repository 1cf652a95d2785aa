"""Values of parameters compared, and numbers in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def is_same_value(one: Any, other: Any) -> bool:
    """Returns whether two values are equal; unlike with `==`, NaN equals NaN, also in lists and mappings.

    A tuple of a parameter file in Python equals the list of its values in dvc.lock.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same_value(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same_value, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun: `1 stage`, `3 stages`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def signed(difference: float) -> str:
    """Returns a difference of scores with its sign and four decimals, or as many as one needs that is not 0."""
    texts = (f"{difference:+.{digits}f}" for digits in range(4, 9))
    return next((text for text in texts if float(text)), f"{0:+.4f}")


def all_of(number: int, noun: str) -> str:
    """Returns a number of things as the subject of a sentence: `the only stage is`, `all 3 stages are`."""
    return f"the only {noun} is" if number == 1 else f"all {number} {noun}s are"


def listed(names: Sequence[str]) -> str:
    """Returns names as a list in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
