"""Comparison of the values of parameters."""

import json
from typing import Any


def is_same_value(one: Any, other: Any) -> bool:
    """Returns whether two values are the same; unlike with `==`, NaN is the same as NaN, also inside of them."""
    return bool(one == other) or _text(one) == _text(other)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, skipkeys=True)
