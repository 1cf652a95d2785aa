"""Labels in a column, labels that count from one, and pixels of 16 bits."""

from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import DataError
from stages.data.config import ARRAYS
from stages.data.datasets import digest, read_arrays
from tests.support.tiny_data import save, tiny_arrays

LIMIT = 1_000_000
TINY = tiny_arrays()


def test_labels_in_a_column_are_labels(tmp_path: Path) -> None:
    """Labels of shape (n, 1), as Keras gives them for CIFAR, are read as (n,): the same arrays, the same digests."""
    columns = {name: TINY[name].reshape(-1, 1) for name in ("y_train", "y_test")}
    read = read_arrays(save(tmp_path / "columns.npz", columns), LIMIT).by_name()
    assert all(np.array_equal(read[name], TINY[name]) for name in ARRAYS)
    assert digest(columns["y_train"]) == digest(read["y_train"])


def test_labels_that_count_from_one_are_explained(tmp_path: Path) -> None:
    """If all labels are 1 to the number of classes, the message says what to subtract."""
    path = save(tmp_path / "from_one.npz", {name: TINY[name] + 1 for name in ("y_train", "y_test")})
    with pytest.raises(DataError, match="label 4, expected 0 to 3; subtract 1 from all labels if they count from 1"):
        read_arrays(path, LIMIT, classes=4)


def test_uint16_needs_its_range(tmp_path: Path) -> None:
    """Pixels of 16 bits are read where params.yaml has their range, else the message asks for it."""
    images = {name: TINY[name].astype(np.uint16) * 257 for name in ("x_train", "x_test")}
    path = save(tmp_path / "deep.npz", images)
    with pytest.raises(DataError, match=r"type uint16, expected uint8, or one of uint16, .* \(`pixels`\)"):
        read_arrays(path, LIMIT)
    assert np.array_equal(read_arrays(path, LIMIT, floats=True).x_train, images["x_train"])
