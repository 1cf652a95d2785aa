"""The numbers of alarms in the picture: where a curve has a height."""

import pytest

from stages.monitor.picture import Curve, _at


@pytest.mark.parametrize(
    ("curve", "height", "point"),
    [
        ([(0, 0.0), (10, 4.0)], 3.0, (7.5, 3.0)),
        ([(0, 0.0), (10, 1.0), (20, 5.0), (30, 0.0), (40, 5.0)], 5.0, (20, 5.0)),
        ([(0, 0.0), (10, 2.0), (20, 1.0)], 3.0, (10, 2.0)),
        ([(5, 0.5)], 3.0, (5, 0.5)),
    ],
)
def test_first_point_at_a_height(curve: Curve, height: float, point: tuple[float, float]) -> None:
    """Between two points the curve is a line; a curve that is never so high has its highest point there."""
    assert _at(curve, height) == pytest.approx(point)
