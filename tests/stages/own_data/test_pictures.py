"""Pictures of 16 and 32 bits, and folders that are no classes or no parts."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.stages.own_data.conftest import Add, Refuse
from tests.support.own_forms import samples, write_parquet, write_pictures

X, Y = samples(30, 1)
DEEP = X.astype(np.uint16) * 16  # 12 bits in 16
NAMES = ("a", "b", "c")
ORDER = np.argsort(Y, kind="stable")  # of the pictures in the folders


def colours_of_16_bits() -> bytes:
    """Returns a PNG of one pixel with three colours of 16 bits, which Pillow reads but does not write."""
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_pictures_of_16_bits_keep_their_depth(tmp_path: Path, add: Add, form: str) -> None:
    """12 bits in pictures of 16 bits are read as they are, as those of an npz file, and the range is written."""
    folder = write_pictures(tmp_path / "p", DEEP, Y, NAMES, form)
    added = add(folder, test=[str(folder)])
    assert added.arrays["x_train"].dtype == np.uint16
    assert np.array_equal(added.arrays["x_train"], DEEP[ORDER])
    assert added.entry["pixels"] == {"low": 0, "high": 4095}
    small = add(folder, test=[str(folder)], size=[8]).arrays["x_train"]
    assert small.dtype == np.uint16 and small.shape == (30, 8, 8) and small.max() > 3000


@pytest.mark.parametrize(
    ("images", "stored", "pixels"),
    [
        (X.astype(np.float32) / 255, X.astype(np.float32) / 255, {"low": 0, "high": 1}),
        (X.astype(np.float32), X, None),
        (X.astype(np.int32), X, None),
        (X.astype(np.int32) * 257, X.astype(np.uint16) * 257, {"low": 0, "high": 65535}),
    ],
)
def test_pictures_of_32_bits_have_one_range(
    tmp_path: Path, add: Add, images: NDArray[Any], stored: NDArray[Any], pixels: dict[str, int] | None
) -> None:
    """The range of pictures of 32 bits follows from all of them, not from each: a dark one stays dark."""
    images, stored = images.copy(), stored.copy()
    images[0] = stored[0] = 0
    images[0, 0, 0] = stored[0, 0, 0] = 1
    folder = write_pictures(tmp_path / "p", images, Y, NAMES, "tiff")
    added = add(folder, test=[str(folder)])
    assert added.arrays["x_train"].dtype == stored.dtype
    assert np.array_equal(added.arrays["x_train"], stored[ORDER])
    assert added.entry.get("pixels") == pixels


def test_parquet_keeps_the_depth(tmp_path: Path, add: Add) -> None:
    """Pictures of 16 bits in a Parquet file are read as those of a folder."""
    path = write_parquet(tmp_path / "a.parquet", DEEP, Y.tolist())
    added = add(path, test=[str(path)])
    assert np.array_equal(added.arrays["x_train"], DEEP)
    assert added.entry["pixels"] == {"low": 0, "high": 4095}


def test_depths_that_cannot_be_kept(tmp_path: Path, refuse: Refuse) -> None:
    """Pictures of 8 beside those of 16 bits, colours of 16 bits and pixels that are no numbers are refused."""
    folder = write_pictures(tmp_path / "p", DEEP, Y, NAMES)
    other = folder / "b" / "z.png"
    Image.fromarray(X[0]).save(other)
    assert "pictures have different depths: a/0000.png has 16 bits and b/z.png 8 bits a pixel" in refuse(folder)
    other.write_bytes(colours_of_16_bits())
    assert "z.png: has colours or transparency of 16 bits, of which 8 would be lost; convert it" in refuse(folder)
    Image.fromarray(np.full((9, 12), np.nan, np.float32)).save(other.with_suffix(".tiff"))
    other.unlink()
    assert "z.tiff: has pixels that are no finite numbers; remove it" in refuse(folder)


def test_hidden_folders_are_left_out(tmp_path: Path, add: Add) -> None:
    """What systems and programs leave in folders is no sample, at any depth, and no class."""
    folder = write_pictures(tmp_path / "p", X, Y, NAMES)
    for hidden in (".thumbnails", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "deep/.git/x", "#recycle"):
        for parent in (folder, folder / "a"):
            (parent / hidden).mkdir(parents=True)
            Image.fromarray(X[0]).save(parent / hidden / "1.png")
            (parent / hidden / "notes.txt").write_text("hidden")
    Image.fromarray(X[0]).save(folder / "deep" / "visible.png")
    added = add(folder, test=[str(folder)])
    assert np.bincount(added.arrays["y_train"]).tolist() == [10, 10, 10, 1]
    assert added.entry["class_names"] == [*NAMES, "deep"]
    assert "no picture" not in added.text


def test_a_class_may_be_named_as_a_part(tmp_path: Path, add: Add, refuse: Refuse) -> None:
    """A folder of pictures named train is a class beside others, with a note; one with folders is a part."""
    folder = write_pictures(tmp_path / "p", X, Y, ("boat", "car", "train"))
    added = add(folder)
    assert added.entry["class_names"] == ["boat", "car", "train"]
    assert "train is read as a class, since it lies beside boat" in added.text
    (folder / "train" / "more").mkdir()
    error = refuse(folder)
    assert "holds the part train with folders of classes, and beside it boat" in error
    assert "move boat elsewhere, or, if train is a class, put its pictures directly into it" in error
