"""Values of parameters that are the same, and that are not."""

import math
from datetime import date
from typing import Any

import pytest

from flows.core.values import all_of, counted, is_same_value, listed, signed

NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (NAN, math.nan, True),
        ([{"a": NAN}], [{"a": float("nan")}], True),
        (NAN, 1.0, False),
        (1, 1.0, True),
        ([1, 2], [1], False),
        ({"a": None}, {}, False),
        ([{1: "a"}], [{"1": "a"}], False),
        (date(2020, 1, 1), "2020-01-01", False),
        ({date(2020, 1, 1): 1}, {date(2021, 1, 1): 1}, False),
    ],
)
def test_values(one: Any, other: Any, expected: bool) -> None:
    """Keys and values of other types differ, although they are written alike."""
    assert is_same_value(one, other) is expected
    assert is_same_value(other, one) is expected


def test_numbers_with_their_nouns() -> None:
    """One is singular, all others are plural."""
    assert [counted(number, "quality gate") for number in (0, 1, 2)] == [
        "0 quality gates",
        "1 quality gate",
        "2 quality gates",
    ]
    assert [all_of(number, "stage") for number in (0, 1, 2)] == [
        "all 0 stages are",
        "the only stage is",
        "all 2 stages are",
    ]


def test_names_in_a_sentence() -> None:
    """The last name of a list follows `and`."""
    assert [listed(["a", "b", "c"][:count]) for count in (0, 1, 2, 3)] == ["", "a", "a and b", "a, b and c"]


def test_a_difference_keeps_its_sign() -> None:
    """A difference that is not 0 is never rounded to 0; one of less than eight decimals is."""
    assert [signed(value) for value in (0.5, -0.00003, 0.0, -1e-12)] == ["+0.5000", "-0.00003", "+0.0000", "+0.0000"]
