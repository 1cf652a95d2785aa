"""Images to classify: drawn digits, scans of them, a small model that classifies them, and invalid files."""

import functools
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

SIZE = 28


def draw(digit: int | str, height: int = 200, offset: tuple[int, int] = (0, 0)) -> Image.Image:
    """Returns a printed digit, white on black, about `height` pixels high, on a page 1.6 times as large."""
    side = int(1.6 * height)
    page = Image.new("L", (side, side))
    font = ImageFont.load_default(size=height * 1.3)
    centre = (side / 2 + offset[0], side / 2 + offset[1])
    ImageDraw.Draw(page).text(centre, str(digit), fill=255, font=font, anchor="mm")
    return page


def template(digit: int) -> NDArray[np.float64]:
    """Returns the digit in the form of MNIST (28, 28), made with SciPy instead of our code."""
    return _template(digit).copy()


@functools.cache
def _template(digit: int) -> NDArray[np.float64]:
    ink = np.asarray(draw(digit), np.float64)
    box = ink[ndimage.find_objects((ink > 127).astype(int))[0]]
    factor = 20 / max(box.shape)
    small = np.clip(ndimage.zoom(ndimage.gaussian_filter(box, 0.4 / factor), factor, order=1), 0, 255)
    field = np.zeros((SIZE, SIZE))
    field[: small.shape[0], : small.shape[1]] = small
    shift = SIZE / 2 - np.array(ndimage.center_of_mass(field))
    centred: NDArray[np.float64] = ndimage.shift(field, np.round(shift), order=0)
    return centred


def scan(digit: int, seed: int, *, dark_on_light: bool = True) -> Image.Image:
    """Returns a photograph of a digit: tinted paper in uneven light, noise, dust, a wide margin, slightly rotated."""
    random = np.random.default_rng(seed)
    page = draw(digit, int(random.integers(90, 260)))
    page = page.rotate(float(random.uniform(-6, 6)), Image.Resampling.BICUBIC)
    margin = random.integers(10, 120, 4)
    ink = np.pad(np.asarray(page, np.float64) / 255, ((margin[0], margin[1]), (margin[2], margin[3])))
    down, right = np.meshgrid(*(np.linspace(0, 1, side) for side in ink.shape), indexing="ij")
    light = (1 - random.uniform(0, 0.4) * down - random.uniform(0, 0.2) * right)[..., np.newaxis]
    paper, pen = np.array([236.0, 228, 205]) * light, np.array([40.0, 45, 110])
    picture = paper * (1 - ink[..., np.newaxis]) + pen * ink[..., np.newaxis]
    picture += random.normal(0, 6, picture.shape)
    picture[3:6, 3:6] = pen  # dust
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if dark_on_light else 255 - pixels)


def write_model(path: Path, weights: NDArray[Any], biases: NDArray[Any], names: list[str] | None = None) -> Path:
    """Writes an ONNX model: softmax(pixels (n, 28, 28) as vectors @ weights + biases)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind, classes = TensorProto.FLOAT, len(biases)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["product"]),
            helper.make_node("Add", ["product", "biases"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "linear",
        [helper.make_tensor_value_info("pixels", kind, ["batch", SIZE, SIZE])],
        [helper.make_tensor_value_info("probabilities", kind, ["batch", classes])],
        [
            helper.make_tensor("weights", kind, weights.shape, weights.astype(np.float32).ravel()),
            helper.make_tensor("biases", kind, biases.shape, biases.astype(np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    if names is not None:
        helper.set_model_props(model, {"class_names": json.dumps(names)})
    onnx.save(model, path)
    return path


def write_reader(path: Path, names: list[str] | None = None) -> Path:
    """Writes a model for the drawn digits: the class of x is its nearest template t, after both are blurred by B.

    The blur is symmetric, so -|Bx - Bt|² is 2 x·BBt - |Bt|² plus a term without t: linear in x.
    """
    return write_model(path, *_reader(), names)


@functools.cache
def _reader() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns weights and biases of the reader of digits."""
    blurred = [ndimage.gaussian_filter(template(digit) / 255, 1) for digit in range(10)]
    weights = np.stack([ndimage.gaussian_filter(image, 1).ravel() for image in blurred], axis=1)
    return 2 * weights / 255, -np.array([(image**2).sum() for image in blurred])


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """Returns a grey PNG whose header has this size, whatever its rows are."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Returns `image` as a file of the format `form`."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def npz(**arrays: NDArray[Any]) -> bytes:
    """Returns the arrays as an npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    return file.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """Returns the array as an npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def good_files() -> dict[str, bytes]:
    """Returns a small valid file of each format."""
    picture = draw(3, 40).convert("RGB")
    images = np.stack([template(digit) for digit in range(3)]).astype(np.uint8)
    return {
        "a.png": encoded(picture, "PNG"),
        "a.jpg": encoded(picture, "JPEG"),
        "a.webp": encoded(picture, "WEBP"),
        "a.npz": npz(images=images),
        "a.npy": npy(images),
    }


def zip_bomb() -> bytes:
    """Returns an npz file whose directory says that its array unpacks to 4 GB."""
    content = bytearray(npz(x=np.zeros((4, 28, 28), np.uint8)))
    record = content.index(b"PK\x01\x02")
    content[record + 24 : record + 28] = (0xF0000000).to_bytes(4, "little")
    return bytes(content)


def huge_jpeg(content: bytes, side: int) -> bytes:
    """Returns a JPEG whose header has `side` pixels a side."""
    frame = content.index(b"\xff\xc0")  # start of frame: length, precision, height, width
    return content[: frame + 5] + struct.pack(">HH", side, side) + content[frame + 9 :]


def huge_webp(content: bytes, side: int) -> bytes:
    """Returns a lossy WebP whose header has `side` pixels a side."""
    frame = content.index(b"\x9d\x01\x2a")  # start code of a key frame: width, height
    return content[: frame + 3] + struct.pack("<HH", side, side) + content[frame + 7 :]


def odd_modes() -> tuple[bytes, bytes, bytes]:
    """Returns valid pictures with 16 bits, in CMYK, and with alpha."""
    page = draw(3, 40)
    deep = encoded(Image.fromarray(np.asarray(page).astype(np.uint16) * 257), "PNG")
    return deep, encoded(page.convert("RGB").convert("CMYK"), "JPEG"), encoded(page.convert("RGBA"), "PNG")


def pickled() -> bytes:
    """Returns an npy file with pickled Python objects."""
    return npy(np.array([{"a": 1}, None], object))


def zip_of_text() -> bytes:
    """Returns a zip file without an array."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no array")
    return file.getvalue()


Maker = Callable[[np.random.Generator], bytes]


def _damage(content: bytes, keep: float) -> bytes:
    return content[: max(1, int(len(content) * keep))]


def bad_arrays() -> dict[str, Maker]:
    """Returns functions that make npy and npz files without images."""
    return {
        "pickle": lambda _: pickled(),
        "words": lambda _: npy(np.array([["a", "b"]])),
        "nan": lambda _: npy(np.full((2, 28, 28), np.nan)),
        "range": lambda random: npy(random.normal(0, 500, (2, 28, 28))),
        "complex": lambda _: npy(np.zeros((2, 28, 28), complex)),
        "labels": lambda _: npz(y=np.arange(9)),
        "five": lambda _: npy(np.zeros((2, 2, 2, 2, 2), np.uint8)),
        "none": lambda _: npy(np.zeros((0, 28, 28), np.uint8)),
        "no-array": lambda _: zip_of_text(),
        "false-npy": lambda random: b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9"
        + b"9" * int(random.integers(1, 40)) + b", 28, 28)}" + b" " * 40,
        "deep-npy": lambda _: b"\x93NUMPY\x01\x00\xf4\x01" + b"(" * 500,
        "old-npy": lambda _: b"\x93NUMPY\x03\x00v\x00\x00\x00" + b" " * 118,
        "void": lambda _: npy(np.zeros((2, 28, 28), "V3")),
        "fortran": lambda _: npy(np.asfortranarray(np.zeros((2, 28, 28)))),
    }  # fmt: skip


@functools.cache
def garbage() -> tuple[tuple[str, bytes], ...]:
    """Returns 387 files that cannot be classified, with names that do harm in a careless program."""
    return tuple(_garbage())


def _garbage() -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng(8)
    good = good_files()
    deep, printed, clear = odd_modes()
    frames = [draw(digit, 40) for digit in (1, 2)]
    makers: dict[str, Maker] = {
        "empty": lambda _: b"",
        "noise": lambda random: random.bytes(int(random.integers(1, 4000))),
        "text": lambda random: b"hello " * int(random.integers(1, 50)),
        "html": lambda _: b"<script>alert(1)</script>",
        "short-png": lambda random: _damage(good["a.png"], random.uniform(0.02, 0.7)),
        "short-jpg": lambda random: _damage(good["a.jpg"], random.uniform(0.02, 0.6)),
        "short-webp": lambda random: _damage(good["a.webp"], random.uniform(0.02, 0.7)),
        "short-npz": lambda random: _damage(good["a.npz"], random.uniform(0.02, 0.9)),
        "short-npy": lambda random: _damage(good["a.npy"], random.uniform(0.02, 0.9)),
        "wide-png": lambda random: png(int(random.integers(60_000, 2**31)), int(random.integers(1000, 2**31))),
        "long-line": lambda _: png(2_000_000, 1, b"\0" * 100),
        "no-side": lambda _: png(0, 7),
        "png-bomb": lambda _: png(40_000, 40_000, b"\0" * 10_000_000),
        "zip-bomb": lambda _: zip_bomb(),
        "apng": lambda _: encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "animated": lambda _: encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "gif": lambda _: encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "tiff": lambda _: encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "short-tiff": lambda random: _damage(encoded(frames[0], "TIFF"), random.uniform(0.02, 0.7)),
        "short-gif": lambda random: _damage(encoded(frames[0], "GIF"), random.uniform(0.02, 0.3)),
        "short-bmp": lambda random: _damage(encoded(frames[0], "BMP"), random.uniform(0.02, 0.7)),
        "jpeg-bomb": lambda random: huge_jpeg(good["a.jpg"], int(random.integers(8000, 2**16))),
        "webp-bomb": lambda random: huge_webp(good["a.webp"], int(random.integers(8000, 2**14))),
        "blank-16-bit": lambda _: encoded(Image.fromarray(np.full((40, 30), 4711, np.uint16)), "PNG"),
        "short-16-bit": lambda random: _damage(deep, random.uniform(0.02, 0.7)),
        "blank-cmyk": lambda random: encoded(Image.new("CMYK", (50, 60), int(random.integers(2**24))), "JPEG"),
        "short-cmyk": lambda random: _damage(printed, random.uniform(0.02, 0.5)),
        "short-alpha": lambda random: _damage(clear, random.uniform(0.02, 0.7)),
        "blank-npy": lambda random: npy(np.full((2, 28, 28), random.integers(256), np.uint8)),
        "blank": lambda random: encoded(Image.new("L", (50, 60), int(random.integers(256))), "PNG"),
        "clear": lambda _: encoded(Image.new("RGBA", (50, 60), (9, 9, 9, 0)), "PNG"),
        "grain": lambda random: encoded(Image.fromarray(random.normal(128, 5, (90, 80)).astype(np.uint8)), "PNG"),
        **bad_arrays(),
    }  # fmt: skip
    for number in range(9):
        for index, (kind, make) in enumerate(makers.items()):
            suffix = (".png", ".npz", ".webp", ".jpg", ".npy")[(number + index) % 5]
            yield f"{NAMES[number]}{kind}-{number}{suffix}", make(random)


NAMES = (
    "", "<b onmouseover=alert(1)>&amp;", "$(touch harm);`touch harm`|&", "two\nlines\r\t",
    "\x1b[31mred\x1b]0;title\x07", "'\"quotes", "\u202egnp.", "-rf", "\udcff\udcfe",
)  # fmt: skip
