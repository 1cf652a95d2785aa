"""The data card of the report: warnings about the data set, and the groups of its parts."""

import json
from typing import Any

import numpy as np
import pytest

from stages.data.config import Dataset
from stages.data.datasets import describe
from stages.report.data_card import Data
from stages.report.records import Preparation
from stages.report.sentences import groups
from tests.support.report_data import DIGITS, preparation, small_digits

ARRAYS = small_digits()


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({}, []),
        ({"y_train": ARRAYS.y_train + 1, "y_test": ARRAYS.y_test + 1}, ["the training labels start at 1"]),
        ({"x_train": ARRAYS.x_train // 200, "x_test": ARRAYS.x_test // 200}, ["training images are 0 to 1", "test"]),
        ({"x_test": np.full_like(ARRAYS.x_test, 7)}, ["all 450 test images are equal"]),
    ],
    ids=["good", "from 1", "binary", "constant"],
)
def test_data_card_has_the_warnings(changes: dict[str, np.ndarray], warnings: list[str]) -> None:
    """Each trap in the arrays of either part has its sentence in the data card; good data have none."""
    arrays, source = ARRAYS._replace(**changes), Dataset.model_validate(DIGITS)
    prepared = Preparation.model_validate_json(json.dumps(preparation("digits", arrays, 1200, 147)))
    data = Data(describe("digits", source, arrays), prepared, arrays, source)
    assert len(data.warnings) == len(warnings)
    assert all(expected in got for got, expected in zip(data.warnings, warnings, strict=True))


WRITERS = {"noun": "writer", "file": "writers.npz", "sha256": {"train": "0" * 64}}


@pytest.mark.parametrize(
    ("section", "counts", "sentence"),
    [
        ({"groups": WRITERS}, (8, 2, 4, 0), "8 for training, 2 for validation, 4 for the test; no writer in two parts"),
        ({}, (8, 2, 4, 1), "8 for training, 2 for validation, 4 for the test; 1 group in more than one part"),
        (
            {"groups": WRITERS},
            (8, 2, None, 0),
            "8 for training, 2 for validation; no writer in two parts; those of the test images are not known",
        ),
        ({}, None, ""),
    ],
    ids=["section", "own file", "test part not known", "none"],
)
def test_data_card_counts_groups(section: dict[str, Any], counts: tuple[int | None, ...] | None, sentence: str) -> None:
    """The groups of each part are counted, with their noun; it is said if those of the test part are not known."""
    parts = counts and dict(zip(("train", "validation", "test", "shared"), counts, strict=True))
    source = Dataset.model_validate(DIGITS | section)
    content = preparation("digits", ARRAYS, 1200, 147) | {"groups": parts}
    prepared = Preparation.model_validate_json(json.dumps(content))
    assert groups(Data(describe("digits", source, ARRAYS), prepared, ARRAYS, source)) == sentence
