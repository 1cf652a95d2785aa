"""Pictures of 16 and 32 bits, and folders that are no classes or no parts."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.predict.classifier import Classifier
from stages.predict.image_arrays import Images
from stages.predict.inputs import read
from stages.predict.picture_depth import to_bytes
from stages.serve.pictures import read_picture
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


@pytest.mark.parametrize(
    ("images", "form"),
    [
        (DEEP, "png"),
        (X.astype(np.uint16), "png"),
        (X.astype(np.uint16) // 20, "tiff"),
        (X.astype(np.int32) * 257, "tiff"),
        (X.astype(np.float32) / 127.5 - 1, "tiff"),
    ],
    ids=["12 bits", "8 bits in 16", "4 bits in 16", "32 bits", "floats"],
)
def test_predict_reads_a_picture_as_the_training_does(
    tmp_path: Path, add: Add, images: NDArray[Any], form: str
) -> None:
    """The model's input of a picture of 16 or 32 bits has the values that the training has of the same file."""
    folder = write_pictures(tmp_path / "p", images, Y, NAMES, form)
    added = add(folder, test=[str(folder)])
    low, high = added.entry.get("pixels", {"low": 0, "high": 255}).values()
    model = Classifier(Path("model.onnx"), None, X.shape[1:], NAMES, (low, high))
    files = sorted(file for child in NAMES for file in (folder / child).iterdir())
    for file, trained in [*zip(files, added.arrays["x_train"], strict=True)][:9]:
        (found,) = read(model, str(file))
        assert isinstance(found, Images)
        (fitted,) = model.fit_to_input(found, raw=True)
        assert isinstance(fitted, Images)
        assert np.allclose(low + fitted.pixels[0] * ((high - low) / 255), trained, atol=1e-6 * (high - low))
        for scaled in model.fit_to_input(found, raw=False):
            if isinstance(scaled, Images):
                assert np.array_equal(read_picture(file.read_bytes(), model, 1000), scaled.pixels)


@pytest.mark.parametrize(
    ("pixel_range", "values", "expected"),
    [
        ((0, 4095), np.full((2, 2), 65535, np.uint16), 255),
        ((0, 1), np.full((2, 2), 51 * 257, np.uint16), 51),
        ((0, 4095), np.full((2, 2), 0.2, np.float32), 51),
        ((7, 7), np.full((2, 2), 7, np.int32), 7),
        ((0, 4095), np.full((2, 2), 51, np.uint8), 51),
    ],
)
def test_pictures_outside_of_the_range_of_the_model(
    pixel_range: tuple[float, float], values: NDArray[Any], expected: int
) -> None:
    """Pictures of other ranges than that of the model's training images are scaled to bytes, whatever that range is."""
    assert (to_bytes(Image.fromarray(values), pixel_range) == expected).all()


@pytest.mark.parametrize(
    ("array", "pixel_range", "expected"),
    [
        (DEEP, (0, 4095), DEEP * (255 / 4095)),
        (DEEP, (0, 65535), DEEP * (255 / 65535)),
        (DEEP, (0, 1023), DEEP * (255 / 65535)),
        (DEEP, (0, 255), DEEP * (255 / 65535)),
        (DEEP, (-5, 4095), (DEEP + 5.0) * (255 / 4100)),
        (X.astype(np.uint16), (0, 4095), X * (255 / 4095)),
        (X.astype(np.uint16), (0, 255), X),
        (np.full_like(DEEP, 7), (7, 7), np.full_like(X, 7)),
    ],
)
def test_arrays_of_16_bits_are_in_the_range_of_the_model(
    tmp_path: Path, array: NDArray[Any], pixel_range: tuple[float, float], expected: NDArray[Any]
) -> None:
    """The range of an array of 16 bits is that of the model's training images, as in a picture, if it is within it."""
    np.save(tmp_path / "a.npy", array)
    model = Classifier(Path("model.onnx"), None, X.shape[1:], NAMES, pixel_range)
    (found,) = read(model, str(tmp_path / "a.npy"))
    assert isinstance(found, Images) and np.allclose(found.pixels, expected, atol=1e-4)


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
