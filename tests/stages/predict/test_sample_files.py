"""Samples that are no images, read from npy, npz and CSV files: each wrong one is refused by itself."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.sample_files import read_samples
from stages.predict.sample_form import SampleForm
from tests.support.pictures import npy, npz, png

VECTOR = SampleForm("vector", (3,))
SERIES = SampleForm("sequence", (2, 3))
TOKENS = SampleForm("tokens", (4,), 100)
ROWS = np.array([[1.5, 2, -3], [4, 5, 6]])
WORDS = np.array([[1, 2, 99, 0], [7, 0, 0, 0]])


def read(path: Path, content: bytes, form: SampleForm) -> tuple[list[str], list[list[float]], list[str]]:
    """Returns names and values of the samples of a file with this content, and the sentences about the others."""
    path.write_bytes(content)
    names, values, reasons = list[str](), list[list[float]](), list[str]()
    for item in read_samples(str(path), form):
        if isinstance(item, RejectedInput):
            reasons.append(f"{item.name.removeprefix(str(path))}: {item.reason}")
        else:
            assert isinstance(item, Images)
            assert item.pixels.dtype == np.float32
            assert item.pixels.shape[1:] == form.shape
            names += [name.removeprefix(str(path)) for name in item.names]
            values += item.pixels.reshape(len(item.names), -1).tolist()
    return names, values, reasons


@pytest.mark.parametrize(
    "content",
    [
        npy(ROWS),
        npz(x=ROWS, y=np.array([0, 1])),
        b"1.5,2,-3\n4,5,6\n",
        b"\xef\xbb\xbfa;b;c\r\n1.5;2;-3\r\n\r\n4;5;6",
        b"1.5\t2\t-3\n4\t5\t6\n",
        b" 1.5 2e0 -3\n4 5 6\n",
        b'"a","b","c"\n"1.5","2","-3"\n4,5,6\n',
    ],
    ids=["npy", "npz", "csv", "semicolons and heading", "tabs", "spaces", "quotes"],
)
def test_all_forms_of_a_file_give_the_same_samples(tmp_path: Path, content: bytes) -> None:
    """npy, npz and CSV files with any usual separator give the same samples, numbered from 0."""
    names, values, reasons = read(tmp_path / "file", content, VECTOR)
    assert (values, reasons) == (ROWS.tolist(), [])
    assert [name[-3:] for name in names] == ["[0]", "[1]"]


def test_one_sample_and_sequences(tmp_path: Path) -> None:
    """An npy file can have one sample; a row of a CSV file has a whole sequence, step by step."""
    assert read(tmp_path / "one.npy", npy(ROWS[0]), VECTOR)[0] == [""]
    sequence = b",".join(str(value).encode() for value in ROWS.reshape(-1))
    assert read(tmp_path / "s.csv", sequence, SERIES) == (["[0]"], [ROWS.reshape(-1).tolist()], [])
    assert read(tmp_path / "s.npy", npy(ROWS), SERIES)[1] == [ROWS.reshape(-1).tolist()]
    assert read(tmp_path / "t.csv", b"1,2,99,0\n7,0,0,0\n", TOKENS)[1] == WORDS.tolist()


def test_many_rows_keep_their_order(tmp_path: Path) -> None:
    """Files longer than a chunk are read in chunks, in order."""
    rows = np.arange(3000).reshape(1000, 3)
    content = io.BytesIO()
    np.savetxt(content, rows, "%d")
    names, values, _ = read(tmp_path / "long.csv", content.getvalue(), VECTOR)
    assert (names[-1], values) == ("[999]", rows.tolist())


@pytest.mark.parametrize(
    ("content", "form", "expected"),
    [
        (b"1,2,3\n1,2\n4,5,6\nx,5,6\n", VECTOR, ["[1]: has 2 numbers, expected 3 numbers in a row, without labels"]),
        (b"1,2,3\nnan,2,3\n", VECTOR, ["[1]: has values from nan to nan, but the model takes vectors of 3 numbers"]),
        (npy(np.array([[1, 2, 3], [1, np.inf, 1e39]])), VECTOR, ["[1]: has values from 1 to inf"]),
        (npy(np.array([[1, 2, 3, 100], [0, 0, 0, 0]])), TOKENS, ["[0]: has values from 1 to 100, but the model takes"]),
        (b"1,NA,3\n4,5,6\n", VECTOR, ["[0]: has the cell 'NA', expected 3 numbers in a row, without labels"]),
        (b"1,,3\n4,5,6\n", VECTOR, ["[0]: has the cell '', expected 3 numbers in a row, without labels"]),
        (b",,\n4,5,6\n", VECTOR, ["[0]: has the cell '', expected 3 numbers in a row, without labels"]),
        (b"1,2,3,0.5\n", TOKENS, ["[0]: has values from 0.5 to 3, but the model takes token sequences of 4 whole"]),
        (npy(ROWS[:, :2]), VECTOR, [": holds float64 of shape (2, 2), expected numbers of shape (n, 3)"]),
        (npy(np.zeros((0, 3))), VECTOR, [": holds float64 of shape (0, 3), expected numbers"]),
        (npz(y=np.array([1, 2, 3])), VECTOR, [": holds no array, expected numbers of shape (n, 3)"]),
        (npy(np.array(["a"])), VECTOR, [": holds <U1 of shape (1,)"]),
        (npz(x=np.array([[1, 2], [1]], object)), TOKENS, [": x holds pickled Python objects, which are never loaded"]),
        (png(8, 8), VECTOR, [": is a picture, but the model takes vectors of 3 numbers; give it a npy, npz or CSV"]),
        (b"", VECTOR, [": is empty"]),
        (b"a,b,c\n", VECTOR, [": holds no row of numbers, but the model takes vectors of 3 numbers"]),
        (b"\0\xff" * 9, VECTOR, [": is no npy or npz file, and no CSV file either"]),
        (b"1" * 10_000, VECTOR, [": is no npy or npz file, and has a line of"]),
    ],
)
def test_wrong_samples_are_refused_by_themselves(
    tmp_path: Path, content: bytes, form: SampleForm, expected: list[str]
) -> None:
    """A wrong sample gets one sentence with what the model takes, and the others of its file are answered."""
    reasons = read(tmp_path / "file", content, form)[2]
    assert len(reasons) >= len(expected)
    for reason, start in zip(reasons, expected, strict=False):
        assert reason.startswith(start)
        assert "\n" not in reason


def test_right_samples_beside_wrong_ones_are_answered(tmp_path: Path) -> None:
    """Of a file with wrong rows the others keep their numbers."""
    names, values, reasons = read(tmp_path / "file", b"1,2,3\n1,2\n4,5,6\nx,5,6\n", VECTOR)
    assert (names, values) == (["[0]", "[2]"], [[1, 2, 3], [4, 5, 6]])
    assert [reason[:3] for reason in reasons] == ["[1]", "[3]"]


def test_a_missing_value_in_the_first_row_is_no_heading(tmp_path: Path) -> None:
    """The first sample is refused, not taken for a heading, so that the others keep their numbers."""
    names, values, reasons = read(tmp_path / "file", b"1,NA,3\n4,5,6\n", VECTOR)
    assert (names, values, len(reasons)) == (["[1]"], [[4, 5, 6]], 1)
    assert read(tmp_path / "file", b"a,NA,\n4,5,6\n", VECTOR) == (["[0]"], [[4, 5, 6]], [])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash reads rows from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1,2,3\n")))
    (samples,) = read_samples("-", VECTOR)
    assert isinstance(samples, Images)
    assert samples.names == ["-[0]"]
