"""The prepare stage warns of data that are likely a mistake, and stays silent on good data."""

from typing import Any

import numpy as np
import pytest

from stages.data.data_warnings import ImageScan, label_warnings
from stages.samples.pixels import Pixels
from tests.stages.prepare.conftest import RunPrepare, write_raw
from tests.support.tiny_data import tiny_arrays

TINY = tiny_arrays()
ONE_FLAT = TINY["x_train"].copy()
ONE_FLAT[17] = 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": TINY["y_train"] + 1}, "the training labels start at 1, so class 0 has no training image"),
        ({"y_train": TINY["y_train"] * 2}, "3 classes (1, 3, 5) have no training image"),
        ({"x_train": TINY["x_train"] % 2}, "are 0 to 1, but their range (`pixels`) is 0 to 255"),
        ({"x_train": ONE_FLAT}, "1 of 40 training images has the same value in all pixels, the first is number 17"),
        ({"x_train": np.repeat(TINY["x_train"][:1], 40, axis=0)}, "all 40 training images are equal"),
    ],
)
def test_likely_mistakes_are_warned_of(
    run_prepare: RunPrepare, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    """Labels from 1, classes without images, a hardly used range and constant images are named; the stage passes."""
    capsys.readouterr()
    write_raw(changes)
    run_prepare()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("warning: ") and message in lines[0]


def test_good_data_have_no_warning(run_prepare: RunPrepare, capsys: pytest.CaptureFixture[str]) -> None:
    """Data without a trap give no line on standard error."""
    run_prepare()
    assert capsys.readouterr().err == ""


def test_class_that_the_split_leaves_without_images() -> None:
    """Many missing classes are counted, the first five named."""
    (warning,) = label_warnings(np.array([0, 1]), [f"c{number}" for number in range(9)])
    assert "7 classes (c2, c3, c4, c5, c6, ...)" in warning


def test_scan_does_not_depend_on_the_chunks() -> None:
    """Chunks of any size give the warnings of the whole array; floats are compared with their own range."""
    images = np.linspace(0, 1, 20 * 64, dtype=np.float32).reshape(20, 8, 8)
    images[[7, 12]] = 0.5
    whole, parts = ImageScan(), ImageScan()
    whole.add(images)
    for chunk in np.array_split(images, 6):
        parts.add(chunk)
    pixels = Pixels(low=0, high=1)
    assert list(whole.warnings("test", pixels)) == list(parts.warnings("test", pixels))
    assert "2 of 20 test images have" in "".join(parts.warnings("test", pixels))
