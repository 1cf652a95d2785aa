"""Tables of predictions of another form are refused in one sentence that names the file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.base.errors import DataError
from stages.model.tasks import Task
from stages.report.records import check_seeds, read_predictions, read_values

LABELS = np.arange(20) % 2
COLUMNS: dict[str, Any] = {
    "label": LABELS, "predicted": LABELS, "probability": np.full(20, 0.75), "loss": np.full(20, 0.3),
    "p0": np.where(LABELS == 0, 0.75, 0.25), "p1": np.where(LABELS == 0, 0.25, 0.75),
    "seed_1": LABELS, "seed_2": LABELS,
}  # fmt: skip


def write(path: Path, columns: Mapping[str, Any], metadata: str | None = None, second: str = "") -> None:
    """Writes a table; with `metadata` of pandas, and with the column `second` once more at its end."""
    table = pa.table(dict(columns))
    table = table.append_column(second, table.column(second)) if second else table
    pq.write_table(table.replace_schema_metadata({"pandas": metadata} if metadata else None), path)


def test_a_right_table_is_read(tmp_path: Path) -> None:
    """Predictions are read as they were written, with those of the seeds."""
    path = tmp_path / "predictions.parquet"
    write(path, COLUMNS)
    table = read_predictions(path, LABELS, 2)
    pd.testing.assert_frame_equal(table, pd.DataFrame(COLUMNS), check_column_type=False)
    check_seeds(path, table, ["1", "2"])


@pytest.mark.parametrize("name", ["label", "predicted", "probability", "loss", "p0", "seed_1"])
@pytest.mark.parametrize(
    "values",
    [["a"] * 20, [None] * 20, [{"a": 1}] * 20, [[1]] * 20, [True] * 20, [b"\xff"] * 20],
    ids=["texts", "nothing", "objects", "lists", "truths", "bytes"],
)
def test_a_column_without_numbers(tmp_path: Path, name: str, values: Any) -> None:
    """A column of anything else than numbers is named."""
    path = tmp_path / "predictions.parquet"
    write(path, COLUMNS | {name: values})
    with pytest.raises(DataError, match=rf"predictions\.parquet: column {name}: expected numbers; run"):
        read_predictions(path, LABELS, 2)


@pytest.mark.parametrize("name", ["value", "target"])
def test_a_value_without_numbers(tmp_path: Path, name: str) -> None:
    """A regression needs numbers too."""
    path = tmp_path / "predictions.parquet"
    write(path, COLUMNS | {"value": LABELS, "target": LABELS} | {name: ["a"] * 20})
    with pytest.raises(DataError, match=rf"column {name}: expected numbers"):
        read_values(path, LABELS, 2, Task("regression"))


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "metadata is a list": (lambda path: write(path, COLUMNS, "[]"), "cannot be read: "),
    "metadata is a number": (lambda path: write(path, COLUMNS, "3"), "cannot be read: "),
    "metadata is nested": (lambda path: write(path, COLUMNS, "[" * 100_000), "cannot be read: "),
    "a column twice": (lambda path: write(path, COLUMNS, None, "loss"), "(expected one name|cannot be read)"),
    "another class": (
        lambda path: write(path, {"p2" if name == "p1" else name: values for name, values in COLUMNS.items()}),
        "got 2 columns of probabilities, expected p0 to p1",
    ),
    "no file": (lambda path: None, "not found"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_table_of_another_form(tmp_path: Path, case: str) -> None:
    """Damaged metadata and names of columns are refused."""
    make, sentence = CASES[case]
    path = tmp_path / "predictions.parquet"
    make(path)
    with pytest.raises(DataError, match=rf"predictions\.parquet: {sentence}") as raised:
        read_predictions(path, LABELS, 2)
    assert "\n" not in str(raised.value)
