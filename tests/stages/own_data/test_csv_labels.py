"""The label's column of a CSV file is found in the whole file, and labels keep their texts; else they are asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.own_data import csv_table
from tests.stages.own_data.conftest import Add, Refuse
from tests.support.own_forms import write_csv

SIDE = 8
WIDTH = SIDE**2 + 1
BOTH = "both the first and the last column could be the label"


def images(count: int, seed: int, high: int) -> NDArray[np.uint8]:
    """Returns images of noise below `high`."""
    return np.random.default_rng(seed).integers(0, high, (count, SIDE, SIDE), np.uint8)


def write(
    path: Path,
    labels: Sequence[Any] | NDArray[Any],
    high: int = 256,
    header: bool = False,
    corner: int | None = None,
) -> Path:
    """Writes a CSV file of images below `high` with these labels; all images have the last pixel `corner`."""
    x = images(len(labels), len(path.name), high)
    if corner is not None:
        x[:, -1, -1] = corner
    return write_csv(path, x, labels, header)


def test_a_file_sorted_by_label(tmp_path: Path, add: Add, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lines have one label: the values of the whole file decide, or the label is asked for."""
    monkeypatch.setattr(csv_table, "CHUNK_VALUES", 100 * WIDTH)
    labels = np.repeat([0, 1, 2], 300)
    added = add(write(tmp_path / "a.csv", labels))
    assert added.entry["classes"] == 3
    assert sum(len(added.arrays[name]) for name in ("y_train", "y_test")) == 900
    assert BOTH in refuse(write(tmp_path / "few.csv", labels, high=17))
    assert add(tmp_path / "few.csv", label="0").entry["classes"] == 3


def test_values_after_the_first_lines(tmp_path: Path, refuse: Refuse) -> None:
    """A column whose later values are no classes has no labels."""
    labels = [*([0, 1] * 150), *range(2, 150)]
    assert "neither the first nor the last column could be" in refuse(write(tmp_path / "a.csv", labels))
    assert "neither the first nor the last column could be" in refuse(write(tmp_path / "b.csv", [*([0, 1] * 150), 0.5]))


def test_files_of_one_class(tmp_path: Path, refuse: Refuse) -> None:
    """A column with one value in each file, and another one in each, could be the label."""
    for label in (0, 1):
        write(tmp_path / f"{label}.csv", [label] * 200, high=17)
    message = refuse(tmp_path / "0.csv", tmp_path / "1.csv")
    assert f"0.csv and 1.csv: {BOTH} of these files" in message and "--label 0 or --label 64" in message
    write(tmp_path / "2.csv", [0, 1] * 100)
    assert f"0.csv and 2.csv: {BOTH} of these files" in refuse(tmp_path / "0.csv", test=[str(tmp_path / "2.csv")])


def test_a_corner_of_one_value(tmp_path: Path, add: Add) -> None:
    """A column with one and the same value in all files is a pixel, as in MNIST."""
    files = [write(tmp_path / f"{part}.csv", [0, 1, 2] * 20, corner=0) for part in ("train", "test")]
    added = add(*files)
    assert added.arrays["y_test"].tolist() == [0, 1, 2] * 20
    assert added.arrays["x_train"].shape == (60, SIDE, SIDE)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["0", "1", "2"], None),
        (["0.0", "1.0", "2.0"], None),
        (["0.000000000000000000e+00", "1.000000000000000000e+00", "2.000000000000000000e+00"], None),  # np.savetxt
        (["+1", "-1", "0"], ["-1", "0", "1"]),
        (["1", "2.", "10"], ["1", "2", "10"]),
        (["01", "02", "0A"], ["0A", "01", "02"]),
        (["1e1", "1e0", "2"], ["1e0", "1e1", "2"]),
        (["10", "9", "A"], ["9", "10", "A"]),
        (["True", "False", "nan"], ["False", "True", "nan"]),
    ],
)
def test_labels_keep_their_texts(
    tmp_path: Path, add: Add, monkeypatch: pytest.MonkeyPatch, labels: list[str], names: list[str] | None
) -> None:
    """Labels are numbers if all of the file are plain ones, however the file is divided into chunks; else texts."""
    monkeypatch.setattr(csv_table, "CHUNK_VALUES", 10 * WIDTH)
    each = np.repeat(labels, 20)
    added = add(write(tmp_path / "a.csv", each, header=True), test=[str(tmp_path / "a.csv")])
    assert added.entry.get("class_names") == names
    assert added.entry["classes"] == 3
    assert len(set(zip(added.arrays["y_train"].tolist(), each.tolist(), strict=True))) == 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["07", "7", "0A"], "'07' and '7' are one number"),
        (["0.5", "1", "2"], "one label is 0.5, expected whole numbers or names"),
    ],
)
def test_labels_that_are_not_certain(tmp_path: Path, refuse: Refuse, labels: list[str], message: str) -> None:
    """One number in two forms is refused, as are fractions."""
    assert message in refuse(write(tmp_path / "a.csv", np.repeat(labels, 20), header=True))


def test_long_names_of_columns_are_cut(tmp_path: Path, refuse: Refuse) -> None:
    """A message has the start of each name."""
    (tmp_path / "a.csv").write_text(f"a,{'b' * 3_000}\n1,2\n")
    message = refuse(tmp_path / "a.csv")
    assert "no column is named as a label" in message and len(message) < 400


def test_lines_without_the_columns_of_the_first(tmp_path: Path, refuse: Refuse) -> None:
    """A short line in place of the first one is refused in a sentence, before the column of the label is chosen."""
    (tmp_path / "a.csv").write_text(f",1\n3END.14\n07,{','.join(map(str, range(200)))}\n")
    assert "has lines without the 2 columns of its first line" in refuse(tmp_path / "a.csv")


@pytest.mark.parametrize("first", ["Y", "y", "A", "class 1", "Y1", "?"])
def test_the_first_line_is_an_image(tmp_path: Path, add: Add, first: str) -> None:
    """A label that could be the name of a column, or that is above a number, is no header beside pixels."""
    labels = [first, *("5", "B", "class 2") * 9]
    path = write(tmp_path / "a.csv", labels)
    added = add(path, test=[str(path)], label="0")
    assert len(added.arrays["x_train"]) == len(labels)
    assert first in added.entry["class_names"]


@pytest.mark.parametrize("name", ["y", "label", "Class"])
@pytest.mark.parametrize("form", ["{number}", "{row}.{column}", "{row}_{column}"])
def test_the_first_line_is_a_header(tmp_path: Path, add: Add, name: str, form: str) -> None:
    """A name above texts is a header beside numbers that are all different: they name columns."""
    path = write(tmp_path / "a.csv", list("ABCY") * 10)
    names = [form.format(number=n, row=n // SIDE, column=n % SIDE) for n in range(SIDE**2)]
    path.write_text(f"{name},{','.join(names)}\n{path.read_text()}")
    added = add(path, test=[str(path)])
    assert len(added.arrays["x_train"]) == 40
    assert added.entry["class_names"] == [*"ABCY"]
