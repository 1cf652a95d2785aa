"""Reading images: a file of any content and name is read, or rejected with one sentence."""

import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.predict import image_files, picture_depth
from stages.predict.image_arrays import Images, RejectedInput
from tests.support.pictures import draw, encoded, good_files, npy, npz, png
from tests.support.root import ROOT

# Reads two pictures, and prints the peak of memory in KiB after the first and after the second.
PEAK_PROGRAM = """
import sys
from pathlib import Path
from stages.predict import image_files
peak = lambda: Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
list(image_files.read_images(sys.argv[1]))
before = peak()
(images,) = image_files.read_images(sys.argv[2])
print(before, peak(), *images.pixels.shape)
"""


def read_bytes(folder: Path, content: bytes, name: str = "file") -> list[Images | RejectedInput]:
    """Writes a file with this content and reads its images."""
    path = folder / name
    path.write_bytes(content)
    return list(image_files.read_images(str(path)))


def read_chunk(folder: Path, content: bytes) -> Images:
    """Returns the images of a valid file that is read in one chunk."""
    (images,) = read_bytes(folder, content)
    assert isinstance(images, Images), images
    return images


def read_reason(folder: Path, content: bytes) -> str:
    """Returns the reason for which a file is rejected as a whole."""
    (rejected,) = read_bytes(folder, content)
    assert isinstance(rejected, RejectedInput)
    assert "\n" not in rejected.reason
    return rejected.reason


def as_mode(mode: str) -> Image.Image:
    """Returns a drawn 3 in one of Pillow's modes."""
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
    """Pictures in grey, palette, 16-bit, CMYK and alpha modes are read as the same picture in 8 bits."""
    images = read_chunk(tmp_path, content)
    assert images.pixels.dtype == np.uint8
    pixels = images.pixels[0] if images.pixels.ndim == 3 else images.pixels[0].mean(axis=2)
    expected = np.asarray(draw(3, 40), float)
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_transparent_background(tmp_path: Path, ink: int, paper: int) -> None:
    """A transparent background becomes white behind dark strokes and black behind light ones."""
    alpha = draw(3, 40)
    stroke = Image.new("L", alpha.size, ink)
    pixels = read_chunk(tmp_path, encoded(Image.merge("LA", (stroke, alpha)), "PNG")).pixels[0]
    assert (int(pixels[0, 0, 0]), abs(int(pixels.min()) - int(pixels.max()))) == (paper, 255)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    """A photograph whose EXIF orientation is sideways is rotated upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees clockwise
    lying = draw(3, 40).transpose(Image.Transpose.ROTATE_90).crop((0, 0, 64, 50))
    pixels = read_chunk(tmp_path, encoded(lying, "PNG", exif=exif)).pixels
    assert pixels.shape == (1, 64, 50)


def test_phone_photograph_with_a_preview(tmp_path: Path) -> None:
    """Of a JPEG with a preview (MPO), as phones write it, the first picture is read, and rotated upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph, preview = draw(3, 100).crop((0, 0, 160, 120)), draw(8, 30)
    content = encoded(photograph, "MPO", save_all=True, append_images=[preview], exif=exif)
    (pixels,) = read_chunk(tmp_path, content).pixels
    upright = np.asarray(photograph.transpose(Image.Transpose.ROTATE_270), float)
    assert pixels.shape == (160, 120) and np.corrcoef(pixels.ravel(), upright.ravel())[0, 1] > 0.99


def test_large_scan_is_in_memory_once(tmp_path: Path) -> None:
    """A scan of 35 million colour pixels, 140 MB in Pillow, needs less than 1.5 times as much memory."""
    draw(3, 40).save(tmp_path / "small.png")
    Image.new("RGB", (7000, 5000), "white").save(tmp_path / "scan.png", compress_level=1)
    command = [sys.executable, "-c", PEAK_PROGRAM, str(tmp_path / "small.png"), str(tmp_path / "scan.png")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    before, peak, _, *shape = map(int, run.stdout.split())
    assert (peak - before) * 1024 < 1.5 * 140e6
    assert shape == [715, 1000, 3]


def test_large_photographs_are_reduced(tmp_path: Path) -> None:
    """A photograph of 12 million pixels is reduced to a shorter side of 640 to 1,280 pixels."""
    photograph = Image.effect_noise((500, 375), 30).convert("RGB").resize((4000, 3000), Image.Resampling.NEAREST)
    for content in (encoded(photograph, "JPEG"), encoded(photograph, "PNG", compress_level=1)):
        height, width = read_chunk(tmp_path, content).pixels.shape[1:3]
        assert picture_depth.MIN_SHORT_SIDE <= min(height, width) <= 2 * picture_depth.MIN_SHORT_SIDE
        assert abs(width / height - 4 / 3) < 0.01


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC file, which the package pillow-heif would read"),
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
def test_rejected_files(tmp_path: Path, content: bytes, reason: str) -> None:
    """The reason names the problem of a file."""
    assert reason in read_reason(tmp_path, content)


def test_names_without_a_regular_file(tmp_path: Path) -> None:
    """Missing files, pipes, devices and impossible names are rejected without waiting for them."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    paths = [str(tmp_path / name) for name in ("absent", "pipe.png", "loop.png")]
    for name in (*paths, "/dev/zero", "a\0b", "x" * 5000):
        assert [type(item) for item in image_files.read_images(name)] == [RejectedInput]
    names = map(str, image_files.expand_paths([str(tmp_path)]))
    assert [type(item) for name in names for item in image_files.read_images(name)] == [RejectedInput] * 2


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
    """Arrays of any number type in npy and npz files are read in 0..255, and each image gets a name."""
    images = read_chunk(tmp_path, npy(array))
    assert np.allclose(images.pixels, value)
    assert images.pixels.shape[1:3] == (9, 9)
    assert images.pixels.shape[3:] in ((), (3,))
    assert images.names == [f"{tmp_path / 'file'}[{number}]" for number in (0, 1)]
    packed = read_chunk(tmp_path, npz(x=array, labels=np.arange(2)))
    assert np.array_equal(packed.pixels, images.pixels)
    assert packed.names == [f"{tmp_path / 'file'}:x[{number}]" for number in (0, 1)]


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3), (9, 8, 4)])
def test_one_image_in_an_array(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """An array (h, w) or (h, w, 3 or 4) is one image."""
    images = read_chunk(tmp_path, npy(np.zeros(shape, np.uint8)))
    assert (images.pixels.shape[:3], len(images.names)) == ((1, 9, 8), 1)


def test_an_array_of_one_number_is_rejected(tmp_path: Path) -> None:
    """An npy file of shape () holds no image, and counts as one input."""
    (rejected,) = read_bytes(tmp_path, npy(np.array(1.0)))
    assert isinstance(rejected, RejectedInput) and "of shape ()" in rejected.reason
    assert image_files.count_images(str(tmp_path / "file")) == 1


def test_bad_array_beside_a_good_one(tmp_path: Path) -> None:
    """In an npz file with an invalid array, the other arrays are read."""
    items = read_bytes(tmp_path, npz(a=np.full((2, 9, 9), 999), b=np.zeros((2, 9, 9), np.uint8)))
    assert [type(item) for item in items] == [RejectedInput, Images]


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_large_arrays_are_read_in_chunks(tmp_path: Path, form: str) -> None:
    """60,000 images (47 MB) are read in less than 50 MB, and so are floats, whose range is checked in a first pass."""
    path = tmp_path / f"x.{form}"
    for array in (np.zeros((60_000, 28, 28), np.uint8), np.zeros((15_000, 28, 28), np.float32)):
        path.write_bytes(npy(array) if form == "npy" else npz(x=array))
        expected = len(array)
        del array
        tracemalloc.start()
        total = sum(len(item.names) for item in image_files.read_images(str(path)) if isinstance(item, Images))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == expected == image_files.count_images(str(path))
        assert peak < 50e6


def test_fortran_order_is_rejected_by_the_header(tmp_path: Path) -> None:
    """15,000 images in Fortran order (47 MB) are rejected without reading them; a single image is read."""
    path = tmp_path / "x.npy"
    path.write_bytes(npy(np.asfortranarray(np.zeros((15_000, 28, 28), np.float32))))
    tracemalloc.start()
    (rejected,) = image_files.read_images(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(rejected, RejectedInput) and "Fortran order" in rejected.reason
    assert peak < 5e6
    ramp = np.arange(72.0).reshape(9, 8)
    assert np.array_equal(read_chunk(tmp_path, npy(np.asfortranarray(ramp))).pixels[0], ramp)


def test_folders(tmp_path: Path) -> None:
    """A folder stands for the images below it, sorted by name; other files are named as left out."""
    for name in ("b/2.PNG", "b/1.jpg", "a.npz", "notes.txt", "c/d/3.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [str(tmp_path / name) for name in ("a.npz", "b/1.jpg", "b/2.PNG", "c/d/3.webp")]
    notes = image_files.LeftOut(str(tmp_path / "notes.txt"), image_files.NO_PICTURE)
    assert list(image_files.expand_paths([str(tmp_path), "x"])) == [names[0], notes, *names[1:], "x"]
    (tmp_path / "empty").mkdir()
    (rejected,) = image_files.expand_paths([str(tmp_path / "empty")])
    assert isinstance(rejected, RejectedInput)
    assert "holds no image" in rejected.reason


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads pictures and arrays from standard input; input beyond the limit is rejected."""
    for content, count in ((encoded(draw(3, 40), "PNG"), 1), (npz(x=np.zeros((5, 9, 9), np.uint8)), 5)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        (images,) = image_files.read_images("-")
        assert isinstance(images, Images)
        assert (len(images.names), images.names[0][0]) == (count, "-")
    monkeypatch.setattr(image_files, "MAX_STDIN_BYTES", 1000)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(2000))))
    (rejected,) = image_files.read_images("-")
    assert isinstance(rejected, RejectedInput)
    assert "more than 1,000 bytes" in rejected.reason


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
def test_unprintable_characters_are_escaped(name: str, shown: str) -> None:
    """A name cannot move the cursor, colour the terminal, or reverse the writing direction."""
    assert image_files.escape_unprintable(name) == shown
