"""Data sets: what is refused and with which words, what is written, and the embedded digits."""

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base.errors import DataError
from stages.data.config import ARRAYS, Dataset
from stages.data.datasets import (
    Arrays,
    describe,
    digest,
    read_arrays,
    read_dataset,
    read_description,
    read_part,
    write_dataset,
)
from tests.support.tiny_data import claim, replace_entry, save, snapshot, tiny_arrays

LIMIT = 1_000_000
TINY = tiny_arrays()
TINY_PARAMS = Dataset.model_validate({"title": "Tiny", "embedded": "digits"})
NAN = np.full((40, 8, 9), np.nan, np.float32)


class Trap:
    """Would write the file named by `path` if anybody unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "the array y_test is missing, found 'x_test.npy"),
        ({"x_train": TINY["x_train"].reshape(40, 72)}, r"x_train has shape \(40, 72\)"),
        ({"x_train": np.zeros((40, 8, 9, 2), np.uint8)}, r"x_train has shape \(40, 8, 9, 2\)"),
        ({"y_train": TINY["y_train"].reshape(40, 1)}, r"y_train has shape \(40, 1\)"),
        ({"x_train": TINY["x_train"].astype(np.int16)}, "x_train has pixels of type int16, expected uint8"),
        ({"x_train": NAN}, r"type float32, some of them not a number \(NaN\), expected uint8"),
        ({"x_train": np.zeros((40, 8, 9))}, "x_train has pixels of type float64, expected uint8"),
        ({"y_train": TINY["y_train"].astype(float)}, "y_train has shape .* type float64, expected integers"),
        ({"y_train": TINY["y_train"] > 0}, "y_train has shape .* type bool, expected integers"),
        ({"y_train": TINY["y_train"][:-1]}, "x_train has 40 images and y_train 39 labels"),
        ({"x_test": TINY["x_test"][:0], "y_test": TINY["y_test"][:0]}, "0 images .* at least 1"),
        ({"y_train": TINY["y_train"].astype(np.int8) - 1}, "y_train holds the label -1, expected 0 to 99"),
        ({"y_train": TINY["y_train"] + 97}, "y_train holds the label 100, expected 0 to 99"),
        ({"y_test": TINY["y_test"] + 1}, "y_test holds the label 4, expected 0 to 3"),
        ({"y_train": TINY["y_train"] * 0}, "at least 2 classes"),
        ({"x_test": np.zeros((12, 9, 8), np.uint8)}, r"shape \(8, 9\), x_test of \(9, 8\)"),
        ({"x_train": np.zeros((40, 7, 9), np.uint8)}, r"x_train has images \(7, 9\) pixels large"),
        ({"x_train": np.zeros((40, 8, 129), np.uint8)}, "expected 8 to 128"),
        ({"x_train": np.zeros(40, "U3")}, "pixels of type <U3"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Whatever is wrong with an array is said: which one, what it is, what it should be."""
    path = save(tmp_path / "wrong.npz", changes)
    with pytest.raises(DataError, match=words):
        read_arrays(path, LIMIT)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """An array of Python objects is refused by its header; what it would do when loaded is not done."""
    trap = tmp_path / "sprung"
    path = save(tmp_path / "trap.npz", {"y_test": np.array([Trap(trap)] * 12, dtype=object)})
    with pytest.raises(DataError, match="y_test holds pickled Python objects, which are never loaded"):
        read_arrays(path, LIMIT)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"not a zip file: it begins with b'', expected b'PK'"),
        (b"<html>login</html>", r"not a zip file: it begins with b'<h'"),
        (b"PK\x03\x04 and no more", "the zip file is damaged or cut short"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A file that is not a zip file is told from one that is cut short."""
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_arrays(path, LIMIT)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file that lost its end is called cut short."""
    path = save(tmp_path / "whole.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_arrays(path, LIMIT)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "y_test has no valid npy header|y_test is damaged"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", r"npy format \(2, 0\), expected \(1, 0\)"),
        (b"\x93NUMPY\x01\x00\x05\x00{'a'}", "y_test has no valid npy header"),
        (b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 0x2000, "y_test has no valid npy header"),
    ],
)
def test_broken_array_headers_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A header that numpy does not write is refused, not followed."""
    path = save(tmp_path / "broken.npz")
    replace_entry(path, "y_test.npy", content)
    with pytest.raises(DataError, match=words) as raised:
        read_arrays(path, LIMIT)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, compression: int) -> None:
    """Compressions whose unpacking cannot be bounded are refused."""
    path = save(tmp_path / "packed.npz")
    replace_entry(path, "y_test.npy", b"x" * 100, compression)
    with pytest.raises(DataError, match="y_test is encrypted or oddly packed"):
        read_arrays(path, LIMIT)


def test_header_that_lies_is_refused(tmp_path: Path) -> None:
    """A shape that the content does not fill is refused before anything of that size is made."""
    path = save(tmp_path / "lie.npz", {"x_train": np.zeros((40, 8, 9), np.uint8)}, compress=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(40, 8, 9)", b"(99, 8, 9)"))
    with pytest.raises(DataError, match=r"x_train is damaged|x_train says uint8 \(99, 8, 9\), but holds 2,880 bytes"):
        read_arrays(path, LIMIT)


def test_bomb_is_refused_without_unpacking(tmp_path: Path) -> None:
    """Arrays that unpack to more than the limit are refused by what the zip directory says."""
    path = save(tmp_path / "bomb.npz", {"x_train": np.zeros((500_000, 8, 9), np.uint8)})
    assert path.stat().st_size < LIMIT
    with pytest.raises(DataError, match=r"unpack to 36,00\d,\d+ bytes, expected at most 1,000,000"):
        peak_of(path)
    assert peak_of(path, error=DataError) < LIMIT


def test_lying_directory_does_not_fill_memory(tmp_path: Path) -> None:
    """A bomb whose directory claims a small size is unpacked to that size at most, and refused."""
    path = save(tmp_path / "bomb.npz")
    honest = np.lib.format.magic(1, 0)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (40, 8, 9), }".ljust(117) + b"\n"
    content = honest + len(header).to_bytes(2, "little") + header + bytes(36_000_000)
    replace_entry(path, "x_train.npy", content, zipfile.ZIP_DEFLATED)
    claim(path, "x_train.npy", 10 + len(header) + 40 * 72)
    with pytest.raises(DataError, match="x_train is damaged or cut short"):
        read_arrays(path, LIMIT)
    assert peak_of(path, error=DataError) < 3 * LIMIT


def test_huge_directory_is_refused(tmp_path: Path) -> None:
    """A zip directory of more than 1 MiB is not read: each of its entries would take memory."""
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(9_000):
            archive.writestr(f"{number:080}", b"")
    with pytest.raises(DataError, match="its zip directory claims"):
        read_arrays(path, LIMIT)


VALID: list[bytes] = []


@settings(max_examples=300, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=6))
def test_damage_anywhere_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, position: float, value: bytes) -> None:
    """Whatever bytes are overwritten: the right arrays are read, or a DataError tells that they are not."""
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    if not VALID:
        VALID.append(save(path, {"x_train": TINY["x_train"][:4], "y_train": TINY["y_train"][:4]}).read_bytes())
    content = bytearray(VALID[0])
    start = int(position * len(content))
    content[start : start + len(value)] = value
    path.write_bytes(content)
    try:
        arrays = read_arrays(path, LIMIT)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # anything but a DataError fails this test
    else:
        assert arrays.x_train.shape == (4, 8, 9)


def peak_of(path: Path, error: type[Exception] | None = None) -> int:
    """Most memory in use while `path` is read, in bytes; `error` may end it."""
    tracemalloc.start()
    try:
        read_arrays(path, LIMIT)
    except DataError:
        if error is None:
            raise
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 1), (16, 8, 3)])
def test_written_arrays_are_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Grey images, with a channel axis or without, and colour images survive unchanged."""
    arrays = Arrays(*(tiny_arrays(shape=shape)[name] for name in ARRAYS))
    description = describe("tiny", TINY_PARAMS, arrays)
    write_dataset(tmp_path, arrays, description)
    back = read_dataset(tmp_path / "dataset.npz")
    assert all(np.array_equal(array, back.named()[name]) for name, array in arrays.named().items())
    assert read_description(tmp_path / "dataset.json") == description
    assert description.class_names == ("0", "1", "2", "3")
    images, labels = read_part(tmp_path / "dataset.npz", "test")
    assert np.array_equal(images, arrays.x_test)
    assert np.array_equal(labels, arrays.y_test)


def test_written_file_is_plain_and_canonical(tmp_path: Path) -> None:
    """dataset.npz is uncompressed, sorted, dated 1980, and equal for equal arrays; numpy reads it."""
    arrays = Arrays(*(TINY[name] for name in ARRAYS))
    description = describe("tiny", TINY_PARAMS, arrays)
    for name in ("one", "two"):
        write_dataset(tmp_path / name, arrays, description)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    with zipfile.ZipFile(tmp_path / "one" / "dataset.npz") as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == ["x_test.npy", "x_train.npy", "y_test.npy", "y_train.npy"]
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "one" / "dataset.npz") as loaded:
        assert np.array_equal(loaded["x_train"], arrays.x_train)


def test_order_in_memory_and_of_bytes_do_not_matter(tmp_path: Path) -> None:
    """Arrays stored in Fortran order or big-endian are the same arrays, with the same digests."""
    changes = {
        "x_train": np.asfortranarray(TINY["x_train"]),
        "y_train": TINY["y_train"].astype(">i4"),
        "y_test": TINY["y_test"].astype("<i4"),
    }
    arrays = read_arrays(save(tmp_path / "other.npz", changes), LIMIT)
    assert digest(arrays.x_train) == digest(TINY["x_train"])
    assert digest(arrays.y_train) == digest(TINY["y_train"].astype("<i4"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        ("{", "the file is not as expected"),
        ('{"name": 1}', "name is not as expected"),
    ],
)
def test_wrong_description_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    """A dataset.json that is missing or was tampered with is named, with what mends it."""
    path = tmp_path / "dataset.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf"dataset\.json: .*{words}.*; run the download stage again"):
        read_description(path)


def test_missing_dataset_is_named(tmp_path: Path) -> None:
    """A missing dataset.npz is one sentence with its name and what to do."""
    with pytest.raises(DataError, match=r"dataset\.npz: the file cannot be read .*; run the download stage again"):
        read_dataset(tmp_path / "dataset.npz")
