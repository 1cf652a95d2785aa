"""Data sets: rejected files with their messages, and written files."""

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
    open_part,
    read_arrays,
    read_dataset,
    read_description,
    write_dataset,
)
from tests.support.tiny_data import replace_entry, save, set_claimed_size, snapshot, tiny_arrays

LIMIT = 1_000_000
TINY = tiny_arrays()
TINY_PARAMS = Dataset.model_validate({"title": "Tiny", "embedded": "digits"})
NAN = np.full((40, 8, 9), np.nan, np.float32)


class Trap:
    """Creates the file `path` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "the array y_test is missing, found 'x_test.npy"),
        ({"x_train": TINY["x_train"].reshape(40, 72)}, r"x_train has shape \(40, 72\)"),
        ({"x_train": np.zeros((40, 8, 9, 2), np.uint8)}, r"x_train has shape \(40, 8, 9, 2\)"),
        ({"y_train": TINY["y_train"].reshape(20, 2)}, r"y_train has shape \(20, 2\)"),
        ({"y_train": TINY["y_train"].reshape(40, 1, 1)}, r"y_train has shape \(40, 1, 1\)"),
        ({"y_train": np.array(1)}, r"y_train has shape \(\)"),
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
        ({"x_train": np.zeros((40, 7, 9), np.uint8)}, r"x_train has images of \(7, 9\) pixels"),
        ({"x_train": np.zeros((40, 8, 129), np.uint8)}, "expected 8 to 128"),
        ({"x_train": np.zeros(40, "U3")}, "pixels of type <U3"),
    ],
)
def test_invalid_arrays_are_rejected(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """The message about an invalid array names the array, its actual property and the expected one."""
    path = save(tmp_path / "invalid.npz", changes)
    with pytest.raises(DataError, match=message):
        read_arrays(path, LIMIT)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """An array of Python objects is rejected by its header and never unpickled."""
    trap = tmp_path / "unpickled"
    path = save(tmp_path / "trap.npz", {"y_test": np.array([Trap(trap)] * 12, dtype=object)})
    with pytest.raises(DataError, match="y_test holds pickled Python objects, which are never loaded"):
        read_arrays(path, LIMIT)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a zip file: it begins with b'', expected b'PK'"),
        (b"<html>login</html>", r"not a zip file: it begins with b'<h'"),
        (b"PK\x03\x04 and no more", "the zip file is damaged or cut short"),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is no zip file and a truncated zip file have different messages."""
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_arrays(path, LIMIT)


def test_truncated_file_is_rejected(tmp_path: Path) -> None:
    """The message about a truncated file says that it is cut short."""
    path = save(tmp_path / "complete.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_arrays(path, LIMIT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "y_test has no valid npy header|y_test is damaged"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", r"npy format \(2, 0\), expected \(1, 0\)"),
        (b"\x93NUMPY\x01\x00\x05\x00{'a'}", "y_test has no valid npy header"),
        (b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 0x2000, "y_test has no valid npy header"),
    ],
)
def test_broken_array_headers_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    """An array header that NumPy does not write is rejected."""
    path = save(tmp_path / "broken.npz")
    replace_entry(path, "y_test.npy", content)
    with pytest.raises(DataError, match=message) as raised:
        read_arrays(path, LIMIT)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_rejected(tmp_path: Path, compression: int) -> None:
    """Compressions whose unpacked size cannot be bounded are rejected."""
    path = save(tmp_path / "packed.npz")
    replace_entry(path, "y_test.npy", b"x" * 100, compression)
    with pytest.raises(DataError, match="y_test is encrypted or has an unknown compression"):
        read_arrays(path, LIMIT)


def test_wrong_shape_in_a_header_is_rejected(tmp_path: Path) -> None:
    """A shape that does not match the content is rejected before memory for it is allocated."""
    path = save(tmp_path / "wrong.npz", {"x_train": np.zeros((40, 8, 9), np.uint8)}, compress=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(40, 8, 9)", b"(99, 8, 9)"))
    with pytest.raises(DataError, match=r"x_train is damaged|x_train says uint8 \(99, 8, 9\), but holds 2,880 bytes"):
        read_arrays(path, LIMIT)


def test_zip_bomb_is_rejected_without_unpacking(tmp_path: Path) -> None:
    """Arrays that unpack to more than the limit are rejected by the sizes in the zip directory."""
    path = save(tmp_path / "bomb.npz", {"x_train": np.zeros((500_000, 8, 9), np.uint8)})
    assert path.stat().st_size < LIMIT
    with pytest.raises(DataError, match=r"unpack to 36,00\d,\d+ bytes, expected at most 1,000,000"):
        peak_memory(path)
    assert peak_memory(path, error=DataError) < LIMIT


def test_wrong_size_in_the_zip_directory_does_not_fill_memory(tmp_path: Path) -> None:
    """A zip bomb whose directory claims a small size is unpacked to at most this size, and rejected."""
    path = save(tmp_path / "bomb.npz")
    magic = np.lib.format.magic(1, 0)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (40, 8, 9), }".ljust(117) + b"\n"
    content = magic + len(header).to_bytes(2, "little") + header + bytes(36_000_000)
    replace_entry(path, "x_train.npy", content, zipfile.ZIP_DEFLATED)
    set_claimed_size(path, "x_train.npy", 10 + len(header) + 40 * 72)
    with pytest.raises(DataError, match="x_train is damaged or cut short"):
        read_arrays(path, LIMIT)
    assert peak_memory(path, error=DataError) < 3 * LIMIT


def test_huge_zip_directory_is_rejected(tmp_path: Path) -> None:
    """A zip directory of more than 1 MiB is not read, because each of its entries takes memory."""
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(9_000):
            archive.writestr(f"{number:080}", b"")
    with pytest.raises(DataError, match="its zip directory claims"):
        read_arrays(path, LIMIT)


VALID: list[bytes] = []


@settings(max_examples=300)
@given(position=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=6))
def test_any_damage_is_a_data_error(tmp_path_factory: pytest.TempPathFactory, position: float, value: bytes) -> None:
    """With any bytes overwritten, either valid arrays are read or a DataError with a message of one line is raised."""
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
        assert len(str(error).splitlines()) == 1  # every other exception fails this test
    else:
        assert arrays.x_train.shape == (4, 8, 9)


def peak_memory(path: Path, error: type[Exception] | None = None) -> int:
    """Returns the peak memory in bytes while `path` is read; the read may raise `error`."""
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
    """Grey images with and without a channel axis, and colour images, are read back unchanged."""
    arrays = Arrays(*(tiny_arrays(shape=shape)[name] for name in ARRAYS))
    description = describe("tiny", TINY_PARAMS, arrays)
    write_dataset(tmp_path, arrays, description)
    result = read_dataset(tmp_path / "dataset.npz").by_name()
    assert all(np.array_equal(array, result[name]) for name, array in arrays.by_name().items())
    assert read_description(tmp_path / "dataset.json") == description
    assert description.class_names == ("0", "1", "2", "3")
    with open_part(tmp_path / "dataset.npz", "test") as (images, labels):
        assert np.array_equal(images.read(), arrays.x_test)
        assert np.array_equal(labels, arrays.y_test)


def test_written_file_is_canonical(tmp_path: Path) -> None:
    """dataset.npz is uncompressed, sorted, dated 1980, readable by NumPy, and equal for equal arrays."""
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


def test_memory_order_and_byte_order_do_not_matter(tmp_path: Path) -> None:
    """Arrays in Fortran order or big-endian have the same digests as in C order and little-endian."""
    changes = {
        "x_train": np.asfortranarray(TINY["x_train"]),
        "y_train": TINY["y_train"].astype(">i4"),
        "y_test": TINY["y_test"].astype("<i4"),
    }
    arrays = read_arrays(save(tmp_path / "other.npz", changes), LIMIT)
    assert digest(arrays.x_train) == digest(TINY["x_train"])
    assert digest(arrays.y_train) == digest(TINY["y_train"].astype("<i4"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("{", "the file is not as expected"),
        ('{"name": 1}', "name is not as expected"),
    ],
)
def test_invalid_description_is_rejected(tmp_path: Path, content: str | None, message: str) -> None:
    """The message about a missing or changed dataset.json has its name and a remedy."""
    path = tmp_path / "dataset.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf"dataset\.json: .*{message}.*; run the download stage again"):
        read_description(path)


def test_missing_dataset_is_named(tmp_path: Path) -> None:
    """The message about a missing dataset.npz has its name and a remedy."""
    with pytest.raises(DataError, match=r"dataset\.npz: the file cannot be read .*; run the download stage again"):
        read_dataset(tmp_path / "dataset.npz")
