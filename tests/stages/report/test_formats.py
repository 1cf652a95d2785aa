"""Numbers as text: no rounding that says another thing than the number."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.report import sentences
from stages.report.formats import P_LIMIT, four_decimals, number, p_value, percent, plural, points
from stages.report.statistics.intervals import wilson_interval
from stages.report.statistics.paired_tests import SIGNIFICANT
from stages.report.statistics.scores import expected_calibration_error, reliability


def test_formats() -> None:
    """100% is all, a difference of nothing has no sign, and an infinite number keeps its own."""
    assert [percent(0.99999), percent(1.0)] == ["99.99%", "100.00%"]
    assert [points(-0.001), points(0.0), points(-1.5)] == ["\u22120.001", "0.00", "\u22121.50"]  # no 0 that is none
    assert [points(-1e-9), points(0.004)] == ["0.00", "+0.004"]
    assert [number(-0.0), four_decimals(-0.00001), number(-0.5)] == ["0", "0.0000", "\u22120.5"]
    assert [number(-math.inf), four_decimals(-math.inf), number(math.inf)] == ["\u2212inf", "\u2212inf", "inf"]
    assert [number(-1e-7), number(math.nan)] == ["\u22121e\u221207", "nan"]
    assert [plural(1, "error"), plural(1200, "error")] == ["1 error", "1,200 errors"]


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0498, "0.0498"), (0.04996, "0.04996"), (0.05, "0.050"), (0.0502, "0.0502"), (0.0494, "0.049"),
        (0.0506, "0.051"), (0.0996, "0.100"), (0.52, "0.52"), (0.001, "0.001"), (1.0, "1.00"),
    ],
)  # fmt: skip
def test_p_values(p: float, text: str) -> None:
    """A p-value has 3 digits, and more where these were on another side of 0.05 than the number."""
    assert p_value(p) == f"p\u00a0=\u00a0{text}"


def test_p_values_beside_005() -> None:
    """The nearest numbers to 0.05 are below and above it as text too."""
    below, above = (float(p_value(float(np.nextafter(0.05, end))).split("\u00a0")[2]) for end in (0, 1))
    assert below < P_LIMIT == SIGNIFICANT < above
    assert p_value(0.0009) == "p\u00a0<\u00a00.001"


def test_a_bin_with_errors_is_not_all_right() -> None:
    """Of 10,000 images with a mean probability of 0.99995 and 3 errors, no share in the sentence is 100%."""
    bins = reliability(np.full(10_000, 0.99995), np.arange(10_000) >= 3)
    scores = SimpleNamespace(reliability=bins, confidence=0.99995, calibration_error=expected_calibration_error(bins))
    evaluation = SimpleNamespace(samples=10_000)
    model: Any = SimpleNamespace(
        scores=scores, evaluation=evaluation, noun="image", interval=wilson_interval(9997, 10_000)
    )
    text = sentences.calibration(model)
    assert "of 99.99%, 9,997 are classified correctly (99.97%, interval 99.91% to 99.99%)." in text
    assert "100." not in text and text.endswith("overconfident.")
