"""Reading files of images of which bytes have changed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.image_files import read_images
from tests.support.pictures import good_files

FILES = good_files()
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]  # those that do not hold here


@pytest.mark.parametrize("kind", FILES)
@given(edits=EDITS, keep=st.floats(0, 1))
@settings(max_examples=20, suppress_health_check=CHECKS)
def test_damaged_files(tmp_path: Path, kind: str, edits: Sequence[tuple[float, int]], keep: float) -> None:
    """A file with changed bytes and a missing end gives images or rejections, never an exception."""
    read_damaged(tmp_path / "file", kind, edits, keep)


@pytest.mark.farm
@pytest.mark.parametrize("kind", FILES)
@given(edits=EDITS, keep=st.floats(0, 1))
@settings(max_examples=300, suppress_health_check=CHECKS)
def test_more_damaged_files(tmp_path: Path, kind: str, edits: Sequence[tuple[float, int]], keep: float) -> None:
    """The same, with more examples."""
    read_damaged(tmp_path / "file", kind, edits, keep)


def read_damaged(path: Path, kind: str, edits: Sequence[tuple[float, int]], keep: float) -> None:
    """Reads a file with these changes."""
    content = bytearray(FILES[kind])
    for position, value in edits:
        content[int(position * len(content))] = value
    path.write_bytes(content[: int(keep * len(content)) + 1])
    items = list(read_images(str(path)))
    assert items
    assert all(isinstance(item, Images | RejectedInput) for item in items)
