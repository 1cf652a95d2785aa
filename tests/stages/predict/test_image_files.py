"""Reading images: whatever a file holds and is called, it is read or refused in one sentence."""

import io
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stages.predict import image_files
from stages.predict.image_arrays import Images, Refusal
from tests.support.pictures import draw, encoded, good_files, npy, npz, png
from tests.support.root import ROOT

# Reads a picture, then says the peak of memory in KiB, and what it was before.
WITNESS = """
import sys
from pathlib import Path
from stages.predict import image_files
peak = lambda: Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
list(image_files.read(sys.argv[1]))
before = peak()
(piece,) = image_files.read(sys.argv[2])
print(before, peak(), *piece.pixels.shape)
"""


def read_bytes(folder: Path, content: bytes, name: str = "file") -> list[Images | Refusal]:
    """What is read of a file with this content."""
    path = folder / name
    path.write_bytes(content)
    return list(image_files.read(str(path)))


def one(folder: Path, content: bytes) -> Images:
    """The images of a file that is good and has one piece."""
    (piece,) = read_bytes(folder, content)
    assert isinstance(piece, Images), piece
    return piece


def refusal(folder: Path, content: bytes) -> str:
    """The sentence about a file that is bad as a whole."""
    (piece,) = read_bytes(folder, content)
    assert isinstance(piece, Refusal)
    assert "\n" not in piece.reason
    return piece.reason


def as_mode(mode: str) -> Image.Image:
    """A 3 in a mode of Pillow's."""
    return draw(3, 40).convert("RGB").convert(mode)


@pytest.mark.parametrize(
    "content",
    [
        encoded(as_mode("1"), "PNG"),
        encoded(as_mode("L"), "PNG"),
        encoded(as_mode("LA"), "PNG"),
        encoded(as_mode("P"), "PNG"),
        encoded(as_mode("P"), "PNG", transparency=0),
        encoded(as_mode("RGBA"), "PNG"),
        encoded(Image.fromarray(np.asarray(draw(3, 40)).astype(np.uint16) * 257), "PNG"),
        encoded(as_mode("L"), "JPEG"),
        encoded(as_mode("CMYK"), "JPEG", quality=95),
        encoded(as_mode("RGB"), "WEBP", lossless=True),
        encoded(as_mode("RGBA"), "WEBP", lossless=True),
    ],
    ids=["1", "L", "LA", "P", "P-clear", "RGBA", "16-bit", "jpeg", "cmyk", "webp", "webp-alpha"],
)
def test_every_mode_is_read(tmp_path: Path, content: bytes) -> None:
    """Grey, palette, 16 bit, CMYK, alpha: the same picture comes out, as 8 bits."""
    piece = one(tmp_path, content)
    assert piece.pixels.dtype == np.uint8
    pixels = piece.pixels[0] if piece.pixels.ndim == 3 else piece.pixels[0].mean(axis=2)
    wanted = np.asarray(draw(3, 40), float)
    assert np.corrcoef(pixels.ravel(), wanted.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_transparent_paper(tmp_path: Path, ink: int, paper: int) -> None:
    """Dark strokes on nothing lie on white, light ones on black: neither vanishes."""
    alpha = draw(3, 40)
    stroke = Image.new("L", alpha.size, ink)
    pixels = one(tmp_path, encoded(Image.merge("LA", (stroke, alpha)), "PNG")).pixels[0]
    assert (int(pixels[0, 0, 0]), abs(int(pixels.min()) - int(pixels.max()))) == (paper, 255)


def test_a_telephones_turn_is_followed(tmp_path: Path) -> None:
    """A photograph that says that it lies on its side is turned upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees clockwise
    lying = draw(3, 40).transpose(Image.Transpose.ROTATE_90).crop((0, 0, 64, 50))
    pixels = one(tmp_path, encoded(lying, "PNG", exif=exif)).pixels
    assert pixels.shape == (1, 64, 50)


def test_a_telephones_picture_in_several_parts(tmp_path: Path) -> None:
    """A JPEG that carries a preview behind it (MPO), as telephones write it, is its first picture, turned upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph, preview = draw(3, 100).crop((0, 0, 160, 120)), draw(8, 30)
    content = encoded(photograph, "MPO", save_all=True, append_images=[preview], exif=exif)
    (pixels,) = one(tmp_path, content).pixels
    upright = np.asarray(photograph.transpose(Image.Transpose.ROTATE_270), float)
    assert pixels.shape == (160, 120) and np.corrcoef(pixels.ravel(), upright.ravel())[0, 1] > 0.99


def test_a_large_scan_is_in_memory_once(tmp_path: Path) -> None:
    """35 million pixels in colour, which Pillow keeps in 140 MB, take no second 140 MB."""
    draw(3, 40).save(tmp_path / "small.png")
    Image.new("RGB", (7000, 5000), "white").save(tmp_path / "scan.png", compress_level=1)
    command = [sys.executable, "-c", WITNESS, str(tmp_path / "small.png"), str(tmp_path / "scan.png")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    before, peak, _, *shape = map(int, run.stdout.split())
    assert (peak - before) * 1024 < 1.5 * 140e6
    assert shape == [715, 1000, 3]


def test_large_photographs_are_read_smaller(tmp_path: Path) -> None:
    """A photograph of 12 million pixels comes with fewer: more are not needed to see a digit."""
    photograph = Image.effect_noise((4000, 3000), 30).convert("RGB")
    for content in (encoded(photograph, "JPEG"), encoded(photograph, "PNG", compress_level=1)):
        height, width = one(tmp_path, content).pixels.shape[1:3]
        assert image_files.ENOUGH <= min(height, width) <= 2 * image_files.ENOUGH
        assert abs(width / height - 4 / 3) < 0.01


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is a GIF file, expected PNG, JPEG, WebP, npz or npy; convert it first"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC file"),
        (b"hello, world", "or its header is damaged: it begins with 'hello, w'"),
        (b"\x1b[31m\xff", "or its header is damaged: it begins with the bytes 1b 5b 33 31 6d ff"),
        (npy(np.zeros((0, 28, 28))), "is an empty array of shape (0, 28, 28): there is nothing to classify"),
        (png(60_000, 60_000), "has far too many pixels, expected at most 50,000,000"),
        (png(8000, 8000), "has 8,000 x 8,000 pixels, expected at most 50,000,000"),
        (png(200_000, 1), "has 200,000 x 1 pixels"),
        (good_files()["a.png"][:200], "is damaged, cut short or too large"),
        (encoded(draw(1, 9), "WEBP", save_all=True, append_images=[draw(2, 9)]), "is animated (2 frames)"),
        (npz(y=np.arange(3)), "holds no array of images"),
        (npy(np.full((2, 9, 9), np.nan)), "has pixels from nan to nan, expected 0 to 255, or 0 to 1"),
        (npy(np.full((2, 9, 9), -1)), "has pixels from -1 to -1"),
        (npy(np.array([{}])), "pickled Python objects, which are never loaded"),
        (npy(np.asfortranarray(np.zeros((2, 9, 9), np.uint8))), "Fortran order"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, sentence: str) -> None:
    """What is wrong with a file is said."""
    assert sentence in refusal(tmp_path, content)


def test_names_of_no_file(tmp_path: Path) -> None:
    """Absent files, pipes, devices and impossible names are refused, and nothing waits for them."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in (str(tmp_path / "absent"), str(tmp_path / "pipe.png"), str(tmp_path / "loop.png"), "/dev/zero", "a\0b",
                 "x" * 5000):  # fmt: skip
        assert [type(piece) for piece in image_files.read(name)] == [Refusal]
    assert [type(piece) for name in image_files.found([str(tmp_path)]) for piece in image_files.read(str(name))] == [
        Refusal
    ] * 2


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (np.full((2, 9, 9), 51, np.uint8), 51),
        (np.full((2, 9, 9, 1), 51, np.uint8), 51),
        (np.full((2, 9, 9, 3), 51, np.uint8), 51),
        (np.full((2, 9, 9, 4), 51, np.uint8), 51),
        (np.full((2, 9, 9), 0.2), 51),
        (np.full((2, 9, 9), 51.0, np.float32), 51),
        (np.full((2, 9, 9), 51 * 257, np.uint16), 51),
        (np.full((2, 9, 9), 51, ">i4"), 51),
        (np.ones((2, 9, 9), bool), 255),
    ],
)
def test_arrays(tmp_path: Path, array: NDArray[Any], value: float) -> None:
    """Arrays of any number type come in 0..255, in npy and in npz files, each image with its name."""
    piece = one(tmp_path, npy(array))
    assert np.allclose(piece.pixels, value)
    assert piece.pixels.shape[1:3] == (9, 9)
    assert piece.pixels.shape[3:] in ((), (3,))
    assert piece.names == [f"{tmp_path / 'file'}[{number}]" for number in (0, 1)]
    packed = one(tmp_path, npz(x=array, labels=np.arange(2)))
    assert np.array_equal(packed.pixels, piece.pixels)
    assert packed.names == [f"{tmp_path / 'file'}:x[{number}]" for number in (0, 1)]


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3), (9, 8, 4)])
def test_one_image_in_an_array(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """An array (h, w) or (h, w, 3 or 4) is one image."""
    piece = one(tmp_path, npy(np.zeros(shape, np.uint8)))
    assert (piece.pixels.shape[:3], len(piece.names)) == ((1, 9, 8), 1)


def test_bad_array_beside_a_good_one(tmp_path: Path) -> None:
    """Of an npz file with a bad array the others are read."""
    pieces = read_bytes(tmp_path, npz(a=np.full((2, 9, 9), 999), b=np.zeros((2, 9, 9), np.uint8)))
    assert [type(piece) for piece in pieces] == [Refusal, Images]


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_large_arrays_are_read_in_pieces(tmp_path: Path, form: str) -> None:
    """60,000 images, 47 MB, need 12 MB at a time; float pixels, which are looked through first, too."""
    path = tmp_path / f"x.{form}"
    for array in (np.zeros((60_000, 28, 28), np.uint8), np.zeros((15_000, 28, 28), np.float32)):
        path.write_bytes(npy(array) if form == "npy" else npz(x=array))
        expected = len(array)
        del array
        tracemalloc.start()
        total = sum(len(piece.names) for piece in image_files.read(str(path)) if isinstance(piece, Images))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == expected == image_files.count(str(path))
        assert peak < 50e6


def test_arrays_in_an_order_that_is_refused_are_not_read(tmp_path: Path) -> None:
    """15,000 images stored in Fortran order, 47 MB, are refused by their header; a single one is read."""
    path = tmp_path / "x.npy"
    path.write_bytes(npy(np.asfortranarray(np.zeros((15_000, 28, 28), np.float32))))
    tracemalloc.start()
    (refused,) = image_files.read(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(refused, Refusal) and "Fortran order" in refused.reason
    assert peak < 5e6
    ramp = np.arange(72.0).reshape(9, 8)
    assert np.array_equal(one(tmp_path, npy(np.asfortranarray(ramp))).pixels[0], ramp)


def test_folders(tmp_path: Path) -> None:
    """A folder stands for the images below it, in order of names; other files are passed over."""
    for name in ("b/2.PNG", "b/1.jpg", "a.npz", "notes.txt", "c/d/3.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [str(tmp_path / name) for name in ("a.npz", "b/1.jpg", "b/2.PNG", "c/d/3.webp")]
    assert list(image_files.found([str(tmp_path), "x"])) == [*names, "x"]
    (tmp_path / "empty").mkdir()
    (nothing,) = image_files.found([str(tmp_path / "empty")])
    assert isinstance(nothing, Refusal)
    assert "holds no image" in nothing.reason


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is read from standard input, arrays too; what has no end is refused."""
    for content, count in ((encoded(draw(3, 40), "PNG"), 1), (npz(x=np.zeros((5, 9, 9), np.uint8)), 5)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        (piece,) = image_files.read("-")
        assert isinstance(piece, Images)
        assert (len(piece.names), piece.names[0][0]) == (count, "-")
    monkeypatch.setattr(image_files, "MAX_STREAM", 1000)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(2000))))
    (refused,) = image_files.read("-")
    assert isinstance(refused, Refusal)
    assert "more than 1,000 bytes" in refused.reason


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("seven.png", "seven.png"),
        ("zwölf 数.png", "zwölf 数.png"),
        ("\x1b[31m\n", "\\x1b[31m\\x0a"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff\U000e0001", "\\xff\\U000e0001"),
    ],
)
def test_printable(name: str, shown: str) -> None:
    """Nothing in a name can move the cursor, colour the terminal, or turn the writing round."""
    assert image_files.printable(name) == shown


EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)


@pytest.mark.parametrize("kind", ["a.png", "a.jpg", "a.webp", "a.npz", "a.npy"])
@given(edits=EDITS, keep=st.floats(0, 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files(tmp_path: Path, kind: str, edits: Sequence[tuple[float, int]], keep: float) -> None:
    """Bytes changed and cut off anywhere: images or sentences come out, never an exception."""
    content = bytearray(good_files()[kind])
    for place, value in edits:
        content[int(place * len(content))] = value
    pieces = read_bytes(tmp_path, bytes(content[: int(keep * len(content)) + 1]))
    assert pieces
    assert all(isinstance(piece, Images | Refusal) for piece in pieces)
