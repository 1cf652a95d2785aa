"""Reading images that nobody vouches for: a file that cannot be used becomes one sentence, never a crash.

PNG, JPEG and WebP with Pillow; npz and npy in pieces. What a file is, is told by its first bytes, never by its name.
Sizes are looked at before anything is unpacked.
"""

import os
import stat
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.base.errors import DataError
from stages.predict.image_arrays import MAX_PIXELS, Images, Refusal, array_images, images_in

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".npz", ".npy")  # that are looked at in a folder
MAX_SIDE = 100_000  # a picture can be within MAX_PIXELS and still be one endless line
MAX_STREAM = 1_000_000_000  # bytes of standard input, which is kept in a temporary file
ENOUGH = 640  # pixels of the shorter side; of a larger picture so many are kept, or up to twice as many
START = 16  # bytes by which a file's kind is told
FOREIGN = (  # kind, place and mark of files that people try
    ("GIF", 0, b"GIF8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("BMP", 0, b"BM"),
    ("PDF", 0, b"%PDF"),
    ("HEIC", 4, b"ftyphei"),
    ("HEIC", 4, b"ftypmif1"),
    ("AVIF", 4, b"ftypavif"),
)
ARRAYS = (b"PK", b"\x93NUMPY")  # how npz and npy files begin
# What Pillow raises on damaged files; its decoders promise nothing.
DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
    AssertionError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


def found(arguments: Iterable[str]) -> Iterator[str | Refusal]:
    """The files that `arguments` name: folders are walked in order of names, for files with one of SUFFIXES."""
    for argument in arguments:
        if argument != "-" and os.path.isdir(argument):  # noqa: PTH112 (a Path takes no name with a zero byte)
            yield from _walk(argument)
        else:
            yield argument


def read(name: str) -> Iterator[Images | Refusal]:
    """The images of the file `name` (`-`: standard input), in pieces; a Refusal ends a file that is damaged."""
    try:
        with _on_disk(name) as path:
            yield from _content(path, name)
    except DataError as error:
        yield Refusal(name, str(error))


def count(name: str) -> int:
    """About how many images the file `name` holds, for a progress bar: 1 where it cannot be told beforehand."""
    if name == "-":
        return 1
    try:
        path = regular(name)
        return images_in(path) if _start(path).startswith(ARRAYS) else 1
    except DataError:
        return 1


def regular(name: str) -> Path:
    """Path of the regular file `name`: a device or a pipe could go on for ever.

    Raises:
        DataError: it is none, or cannot be read.
    """
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError("is no name of a file: it holds a zero byte") from error
    if not stat.S_ISREG(mode):
        raise DataError("is neither a file nor a folder")
    return path


def printable(name: str) -> str:
    """`name` on one line for a terminal: what is not printable, and what is no text, as escapes."""
    if name.isprintable():  # nearly always
        return name
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in name)


def _escape(letter: str) -> str:
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a name that is not UTF-8, as Python carries it
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _walk(folder: str) -> Iterator[str | Refusal]:
    any_found = False
    problems: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=problems.append):
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(SUFFIXES):
                any_found = True
                yield os.path.join(place, file)  # noqa: PTH118 (names of any bytes)
    for problem in problems:
        yield Refusal(str(problem.filename), f"the folder cannot be read ({problem.strerror})")
    if not any_found and not problems:
        yield Refusal(folder, f"the folder holds no image, expected files with {', '.join(SUFFIXES)}")


@contextmanager
def _on_disk(name: str) -> Iterator[Path]:
    """Path of a regular file with the content of `name`, for as long as the block lasts."""
    if name != "-":
        yield regular(name)
        return
    with tempfile.NamedTemporaryFile() as file:
        _copy(sys.stdin.buffer, file)
        yield Path(file.name)


def _copy(source: IO[bytes], target: Any) -> None:
    done = 0
    while piece := source.read(1 << 20):
        done += len(piece)
        if done > MAX_STREAM:
            raise DataError(f"it has more than {MAX_STREAM:,} bytes, which is the limit")
        target.write(piece)
    target.flush()


def _content(path: Path, name: str) -> Iterator[Images | Refusal]:
    start = _start(path)
    if not start:
        raise DataError("is empty")
    if start.startswith(ARRAYS):
        yield from array_images(path, name)
    else:
        yield Images([name], picture(path)[np.newaxis], of_array=False)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(START)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error


def picture(path: Path) -> NDArray[np.uint8]:
    """Pixels (h, w) or (h, w, 3) of a PNG, JPEG or WebP file, upright, on paper where it is transparent.

    Raises:
        DataError: the file cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is refused below, or harmless
            with Image.open(path, formats=FORMATS) as image:
                _check_frame(image)
                image.draft(None, (ENOUGH, ENOUGH))
                return _flat(image)
    except UnidentifiedImageError as error:
        raise DataError(_foreign(_start(path))) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"has far too many pixels, expected at most {MAX_PIXELS:,} in all ({_brief(error)})") from error
    except DAMAGED as error:
        raise DataError(f"is damaged, cut short or too large ({_brief(error)})") from error


def _foreign(start: bytes) -> str:
    """What is wrong with a file that begins with `start`, which is nothing that is read here."""
    kinds = [kind for kind, place, mark in FOREIGN if start[place:].startswith(mark)]
    if kinds:
        return f"is a {kinds[0]} file, expected PNG, JPEG, WebP, npz or npy; convert it first"
    shown = start[:8].decode("ascii", "replace")
    begins = repr(shown) if shown.isascii() and shown.isprintable() else f"the bytes {start[:8].hex(' ')}"
    return f"is not a PNG, JPEG, WebP, npz or npy file, or its header is damaged: it begins with {begins}"


def _check_frame(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DataError(f"has {width:,} x {height:,} pixels, expected at most {MAX_PIXELS:,} in all")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a telephone's JPEG: the photograph, then previews or depth
        raise DataError(f"is animated ({frames} frames), expected one picture")


def _flat(image: Image.Image) -> NDArray[np.uint8]:
    """The picture as grey or colour of 8 bits; `image` itself is turned, as a copy could take 200 MB."""
    ImageOps.exif_transpose(image, in_place=True)
    upright = image
    factor = min(upright.size) // ENOUGH
    if upright.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        return _eight_bits(np.asarray(upright))
    if upright.mode == "P":
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    elif upright.mode in ("LA", "La", "RGBa") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
    elif upright.mode not in ("L", "RGB", "RGBA"):
        upright = upright.convert("L" if upright.mode == "1" else "RGB")
    if factor > 1:
        upright = upright.reduce(factor)
    return np.asarray(_on_paper(upright) if upright.mode == "RGBA" else upright, np.uint8)


def _on_paper(image: Image.Image) -> Image.Image:
    """`image` on white, or on black where what is drawn is light: white strokes would vanish on white."""
    alpha = np.asarray(image.getchannel("A"), np.float32)
    grey = np.asarray(image.convert("RGB").convert("L"), np.float32)
    weight = float(alpha.sum())
    light = weight > 0 and float((grey * alpha).sum()) / weight > 127.5 and bool((alpha < 128).any())
    paper = Image.new("RGBA", image.size, (0, 0, 0, 255) if light else (255, 255, 255, 255))
    return Image.alpha_composite(paper, image).convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey of 16 bits as 8."""
    return np.clip(values.astype(np.float32) / 257, 0, 255).round().astype(np.uint8)


def _brief(error: BaseException) -> str:
    text = " ".join(printable(str(error)).split())[:100]
    return text or type(error).__name__
