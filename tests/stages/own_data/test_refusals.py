"""A file that cannot be used gets one sentence: what it is, what was expected, what to do. Nothing is written."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from tests.stages.own_data.conftest import Refuse
from tests.support.own_forms import idx_bytes, png, samples, write_csv, write_idx, write_parquet, write_pictures

X, Y = samples(30, 1)
SQUARE = samples(30, 1, shape=(9, 9))[0]
Make = Callable[[Path], Any]
IDX = "train-images-idx3-ubyte"


def write(name: str, content: bytes) -> Make:
    """Returns a function that writes a file into a folder and returns its path."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def npz(**arrays: Any) -> Make:
    """Returns a function that writes an npz file."""

    def make(folder: Path) -> Path:
        np.savez_compressed(folder / "a.npz", allow_pickle=True, **arrays)
        return folder / "a.npz"

    return make


def mat(**arrays: Any) -> Make:
    """Returns a function that writes a MATLAB file."""

    def make(folder: Path) -> Path:
        scipy.io.savemat(folder / "a.mat", arrays, do_compression=True)
        return folder / "a.mat"

    return make


def csv(change: Callable[[str], str], header: bool = True) -> Make:
    """Returns a function that writes a CSV file with a changed text."""

    def make(folder: Path) -> Path:
        path = write_csv(folder / "a.csv", SQUARE, Y, header)
        path.write_text(change(path.read_text()))
        return path

    return make


def pictures(change: Callable[[Path], object]) -> Make:
    """Returns a function that writes a folder of pictures and changes something in it."""

    def make(folder: Path) -> Path:
        write_pictures(folder / "p", X, Y, ("a", "b", "c"))
        change(folder / "p")
        return folder / "p"

    return make


def make_folder(path: Path) -> Path:
    """Creates a folder and returns it."""
    path.mkdir()
    return path


def table(**columns: Any) -> Make:
    """Returns a function that writes a Parquet file."""

    def make(folder: Path) -> Path:
        pq.write_table(pa.table(columns), folder / "a.parquet")
        return folder / "a.parquet"

    return make


def nested_cells(depth: int) -> bytes:
    """Returns a MATLAB file of a cell in a cell in a cell, and so on."""
    head = np.array([6, 8, 1, 0, 5, 8, 1, 1, 1, 0], "<u4").tobytes()  # flags, one row and one column, no name
    sizes = range(48 * depth - 8, 0, -48)
    parts = [np.array([14, size], "<u4").tobytes() + head for size in sizes]
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(parts)


def packed_matlab(body: bytes) -> bytes:
    """Returns a MATLAB file with one packed element."""
    packed = zlib.compress(body)
    tag = np.array([15, len(packed)], "<u4").tobytes()
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + tag + packed


def two_idx(folder: Path) -> list[Path]:
    """Writes images and labels of unequal number."""
    return [write_idx(folder / IDX, X), write_idx(folder / "train-labels-idx1-ubyte", Y[:20])]


CASES: dict[str, tuple[Make, dict[str, Any], str]] = {
    "no such file": (lambda folder: folder / "none.npz", {}, "none.npz: there is no such file or folder; name a file"),
    "empty file": (write("a.csv", b""), {}, "a.csv: is empty"),
    "truncated gz": (write(f"{IDX}.gz", gzip.compress(idx_bytes(X))[:-900]), {}, "is damaged or cut short (Compressed file ended"),  # noqa: E501
    "short idx": (write(IDX, idx_bytes(X)[:-100]), {}, "ends after 3,140 of 3,240 bytes of its 30 rows; download it"),
    "long idx": (write(IDX, idx_bytes(X) + b"12"), {}, "goes on after its 30 rows"),
    "idx magic": (write(IDX, b"\0\0\x07\x03" + bytes(99)), {}, "begins with bytearray(b'\\x00\\x00\\x07\\x03'), expected an IDX"),  # noqa: E501
    "huge idx": (write(IDX, b"\0\0\x08\x03" + b"\xff" * 12), {}, "says that it holds 79,228,162,458,924,105,385,300,197,375 bytes"),  # noqa: E501
    "idx of no row": (write(IDX, idx_bytes(X[:0])), {}, "has the shape (0, 9, 12), expected at least 1 on each axis"),
    "idx of no row and endless ones": (write(IDX, b"\0\0\x08\x04" + bytes(4) + b"\xff" * 12), {}, "has the shape (0, 4294967295"),  # noqa: E501
    "idx labels of no column": (write("train-labels-idx2-int", idx_bytes(np.zeros((30, 0)), 0x0C, ">i4")), {}, "has the shape (30, 0)"),  # noqa: E501
    "unequal idx": (two_idx, {}, "30 images and 20 labels, expected equal numbers"),
    "images alone": (write(IDX, idx_bytes(X)), {}, "has images alone, and no file has their labels; name that file too"),  # noqa: E501
    "csv text": (csv(lambda text: text.replace("\n1,", "\n1,abc,", 1).replace(",7\n", "\n")), {}, "no table of equal"),
    "csv word": (csv(lambda text: text.replace("\n2,", "\n2,x", 1)), {}, "line 4 has 'x"),
    "csv word after blank lines": (csv(lambda text: f"\n  \n{text}".replace("\n2,", "\n \n\n2,x", 1)), {}, "line 8 has 'x"),  # noqa: E501
    "csv gap after blank lines": (csv(lambda text: text.replace("\n1,", "\n\n1,", 1).replace("\n2,", "\n,", 1)), {}, "line 5 has no label in"),  # noqa: E501
    "csv huge": (csv(lambda text: text.replace("\n2,", f"\n2,{'9' * 400}", 1)), {}, "line 4 has '9999"),
    "csv gap": (csv(lambda text: text.replace("\n2,", "\n2,,", 1).rsplit(",", 1)[0]), {}, "no table of equal lines"),
    "csv gap beside True": (write("a.csv", b"label,a,b,c,d\n0,True,0,1,2\n1,False,,1,2"), {}, "line 3 has no number in column b"),  # noqa: E501
    "csv no label": (csv(lambda text: text.replace("label", "other", 1)), {}, "no column is named as a label in other"),
    "csv header alone": (csv(lambda text: text.split("\n")[0]), {}, "no table of equal lines (No columns"),
    "csv no such label": (csv(str), {"label": "kind"}, "has no column kind (--label), but label, pixel0"),
    "csv no square": (lambda folder: write_csv(folder / "a.csv", X, Y), {}, "108 pixels an image are no square; give"),
    "csv label of two signs": (csv(str), {"label": "--5"}, "has no column --5 (--label)"),
    "csv label of many digits": (csv(str), {"label": "9" * 5_000}, "9 (--label), but label, pixel0"),
    "csv wrong shape": (csv(str), {"shape": [9, 8]}, "81 pixels an image, but --shape 9 8 has 72"),
    "csv not certain": (lambda folder: write_csv(folder / "a.csv", SQUARE // 100, Y, False), {}, "both the first and the last column could be the label"),  # noqa: E501
    "csv bomb": (write("a.csv.gz", gzip.compress(b"1,2,3\n" * 100_000)), {"max_bytes": 5_000, "label": "0"}, "unpacks to more than 5,000"),  # noqa: E501
    "npz without arrays": (npz(a=X, b=Y, c=Y), {}, "none of which is named as images; name the right ones by --x-train"),  # noqa: E501
    "npz no such key": (npz(a=X, b=Y), {"x_train": "x", "y_train": "b"}, "has no array x, but a, b; name the right"),
    "npz half the keys": (npz(a=X, b=Y), {"x_train": "a"}, "--x-train is given, so --y-train is needed too"),
    "npz pickled": (npz(x=X, y=Y.astype(object)), {}, "y holds pickled Python objects, which are never loaded"),
    "npz bomb": (npz(x=np.zeros((3000, 28, 28)), y=np.zeros(3000)), {"max_bytes": 1_000_000}, "expected at most 1,000,000"),  # noqa: E501
    "npz cut": (lambda folder: write("b.npz", npz(x=X, y=Y)(folder).read_bytes()[:-99])(folder), {}, "b.npz: the zip file is damaged or cut short (File is not a zip file); download it again"),  # noqa: E501
    "zip of others": (write("a.zip", b"PK\x05\x06" + bytes(18)), {}, "is a zip file with 0 arrays, expected an npz"),
    "flat images of no pixel": (npz(x=X.reshape(30, -1)[:, :0], y=Y), {}, "images have the shape (30, 0), expected at"),
    "images of no row": (npz(x=X[:, :0], y=Y), {"size": [28]}, "images have the shape (30, 0, 12), expected at least"),
    "labels of no text": (npz(x=X, y=np.frombuffer(b"\xff" * 120, "<U1")), {}, "labels hold no valid text; write them"),
    "unequal counts": (npz(x=X, y=Y[:29]), {}, "30 images and 29 labels, expected equal numbers"),
    "one class": (npz(x=X, y=Y * 0), {}, "all labels are 0, expected at least 2 classes; add images of another one"),
    "many classes": (npz(x=np.repeat(X, 5, 0), y=np.arange(150)), {}, "have 150 different values, such as 0 and 1"),
    "labels of a regression": (npz(x=X, y=Y + 0.5), {}, "one label is 0.5, expected whole numbers or names"),
    "unknown test label": (npz(x_train=X, y_train=Y, x_test=X, y_test=Y + 1), {}, "the test part has the label 3"),
    "hidden test labels": (npz(x_train=X, y_train=Y, x_test=X, y_test=Y * 0.0 - 1), {}, "its labels are hidden"),
    "not a number": (npz(x=np.where(X > 250, np.nan, X), y=Y), {}, "some pixels are not a number (NaN) or infinite"),
    "range not certain": (npz(x=X * 7.3, y=Y), {}, "so black and white are not certain; give them, such as --pixels"),
    "range too small": (npz(x=X, y=Y), {"pixels": [0, 99]}, "pixels are from 0 to 255, but --pixels is 0 99"),
    "sides too small": (npz(x=X[:, :5], y=Y), {}, "images have 5 x 12 pixels, expected 8 to 128 a side; resize them"),
    "five axes": (npz(x=X[..., None, None], y=Y), {}, "images have the shape (30, 9, 12, 1, 1), expected (n, h, w)"),
    "names too few": (npz(x=X, y=Y), {"class_names": ["a"]}, "--class-names has 1 names, but there are 3 classes"),
    "names twice": (npz(x=X, y=Y), {"class_names": ["a", "a", "b"]}, "class_names: holds 'a' more than once"),
    "too few for a split": (npz(x=X[:3], y=Y[:3]), {}, "there are 3 images, of which 1 would be the test part"),
    "share": (npz(x=X, y=Y), {"test_share": 1.5}, "--test-share: Input should be less than 1, got 1.5"),
    "sizes": (npz(x_train=X, y_train=Y, x_test=X[:, 1:], y_test=Y), {}, "and those of the test part (8, 12), expected the"),  # noqa: E501
    "mat without arrays": (mat(a=X), {}, "has the arrays a (30, 9, 12), none of which is named as images"),
    "mat 7.3": (write("a.mat", b"MATLAB 7.3 MAT-file" + bytes(500)), {}, "version 7.3 (HDF5), expected up to 7; save it"),  # noqa: E501
    "mat cut": (lambda folder: write("b.mat", mat(X=X, y=Y)(folder).read_bytes()[:-50])(folder), {}, "b.mat: is cut short"),  # noqa: E501
    "mat bomb": (mat(X=np.zeros((900, 28, 28)), y=np.zeros(900)), {"max_bytes": 1_000_000}, "unpacks to more than 1,000,000"),  # noqa: E501
    "no pictures": (lambda folder: folder, {}, "holds no file, expected npz, npy, IDX, CSV"),
    "pictures without folders": (lambda folder: write("a.png", png(X[0]))(folder).parent, {}, "holds 1 file, but no folder"),  # noqa: E501
    "one picture": (write("a.png", png(X[0])), {}, "a.png: is a single picture, expected npz, npy, IDX"),
    "empty class": (pictures(lambda p: (p / "d").mkdir()), {}, "holds no picture, expected those of the class d"),
    "no picture in a class": (pictures(lambda p: (p / "a" / "0000.png").rename(make_folder(p / "d") / "a.txt").write_text("a")), {}, "holds no"),  # noqa: E501
    "linked class": (pictures(lambda p: (p / "d").symlink_to(p / "a")), {}, "p/d: is a link to a folder, which is not"),
    "classes that differ in a blank": (pictures(lambda p: (p / "a").rename(p / "b ")), {}, "p: holds the folders 'b' and 'b ', expected names"),  # noqa: E501
    "damaged picture": (pictures(lambda p: (p / "a" / "z.png").write_bytes(png(X[0])[:60])), {}, "z.png: is damaged, cut"),  # noqa: E501
    "two sizes": (pictures(lambda p: (p / "a" / "z.png").write_bytes(png(X[0, 1:]))), {}, "pictures have different sizes: a/0000.png has 9 x 12 and a/z.png 8 x 12 pixels; give one for all, such as --size 28"),  # noqa: E501
    "large pictures": (lambda folder: write_pictures(folder / "p", np.zeros((6, 200, 200), np.uint8), Y[:6], "abc"), {}, "has 200 x 200 pixels, expected 8 to 128 a side; give --size 28"),  # noqa: E501
    "class in one part": (lambda folder: [write_pictures(folder / "p" / "train", X, Y, "abc"), write_pictures(folder / "p" / "test", X, Y, "abd")][0].parent, {}, "the test part has the label 'd'"),  # noqa: E501
    "parquet without pictures": (table(label=[1, 2], text=["a", "b"]), {}, "and no single one of pictures with their bytes"),  # noqa: E501
    "parquet without labels": (table(image=[png(X[0])] * 2), {}, "and no single one of labels; expected a column of"),
    "parquet of paths": (table(image=pa.array([{"bytes": None, "path": "a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])), label=[1]), {}, "row 0 has no bytes of a picture, but its path"),  # noqa: E501
    "parquet damaged": (lambda folder: write("b.parquet", write_parquet(folder / "a.parquet", X, Y.tolist()).read_bytes()[:-9])(folder), {}, "b.parquet: is damaged"),  # noqa: E501
    "parquet of texts": (table(image=[b"no picture"] * 3, label=[0, 1, 2]), {}, "the picture of row 0 is not a PNG"),
    "parquet of other bytes": (table(image=[png(X[0])] * 2, label=pa.array([b"\xff", b"a"]).view(pa.string())), {}, "is damaged or no Parquet file ('utf-8'"),  # noqa: E501
    "parquet of lists": (table(image=[png(X[0])] * 2, label=[[1], [1, 0]]), {"label": "label"}, "the column label holds lists of different lengths, expected a label a row"),  # noqa: E501
    "mat of lists": (mat(images=X[:2], labels=np.array([[1.0, 2.0], [1.0]], dtype=object)), {}, "labels are of mixed types"),  # noqa: E501
    "parquet of far dates": (table(image=[png(X[0])] * 2, label=pa.array([2**50, 0], pa.timestamp("s"))), {}, "is damaged or no Parquet"),  # noqa: E501
    "csv of no line": (write("a.csv", b"\xef\xbb\xbf"), {}, "has 0 columns in its first line"),
    "csv of a long cell": (write("a.csv", b"1," + b"2" * 200_000), {}, "is no table (field larger than field limit"),
    "csv label of other digits": (csv(str), {"label": "²"}, "has no column ² (--label)"),
    "mat nested": (lambda folder: write("a.mat", nested_cells(20_000))(folder), {}, "has more than 1,000 cells and structs"),  # noqa: E501
    "mat of tiny elements": (lambda folder: write("a.mat", packed_matlab(bytes(17_000_000)))(folder), {}, "has more than 2,000,000 elements"),  # noqa: E501
    "mat of colours and mixed labels": (mat(X=np.zeros((32, 32, 3, 2), np.uint8), y=np.array([1.0, "a"], dtype=object)), {}, "there are 2 images, of which"),  # noqa: E501
    "long name": (lambda folder: folder / ("a" * 300), {}, "cannot be read (File name too long)"),
    "web page": (write("train.csv", b"<!DOCTYPE html><html>404</html>"), {}, "is a web page, expected npz"),
    "pickle": (write("data.pkl", b"\x80\x04\x95abc"), {}, "is a Python pickle, expected npz"),
    "unknown": (write("a.bin", bytes(range(128, 255))), {}, "begins with the bytes 80 81 82"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(tmp_path: Path, refuse: Refuse, case: str) -> None:
    """A wrong file of each kind is refused in one sentence with the remedy."""
    make, options, message = CASES[case]
    (tmp_path / "in").mkdir()
    made = make(tmp_path / "in")
    assert message in refuse(*(made if isinstance(made, list) else [made]), **options)


def test_hostile_matlab_files(tmp_path: Path, refuse: Refuse) -> None:
    """Whatever bytes a MATLAB file has after its header, it is refused in one sentence."""
    random = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / f"{number}.mat"
        path.write_bytes(packed_matlab(random.bytes(100)))
        assert "save -v7" in refuse(path) or "KEY" in refuse(path)


def test_a_matlab_array_that_lies_about_its_size(tmp_path: Path, refuse: Refuse) -> None:
    """An array of four gigabytes in a short file is refused before there is room for it."""
    path = tmp_path / "a.mat"
    tag = np.array([14, 2**32 - 1], "<u4").tobytes()
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + tag + bytes(64))
    tracemalloc.start()
    try:
        assert "is cut short: its last array ends too early" in refuse(path)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


def test_an_address_without_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that does not answer has the exit code of an unavailable source."""
    from stages.base.errors import exit_with
    from stages.own_data.program import main

    options = {"name": "own", "paths": ["http://127.0.0.1:9/a.npz"]}
    assert exit_with(lambda: main([json.dumps(options)])) == 69
    assert "check the address, or download the file by hand" in capsys.readouterr().err
