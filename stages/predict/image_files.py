"""Reads images from untrusted files: a file that cannot be used becomes a RejectedInput, never an exception.

Pillow reads PNG, JPEG, WebP, TIFF, BMP and GIF; npz and npy files are read in chunks. The format follows from a file's
first bytes, not from its name. Sizes are checked before anything is decompressed. A fault of the machine, such as a
full disk, is raised.
"""

import os
import stat
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stages.base.errors import DataError, OutputError, raise_fault
from stages.base.shown_text import mask_urls
from stages.base.streams import tell
from stages.predict.image_arrays import MAX_PIXELS, Images, RejectedInput, count_array_images, read_arrays
from stages.predict.picture_depth import BYTES, MIN_SHORT_SIDE, full_depth, to_bytes

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
EXPECTED = "PNG, JPEG, WebP, TIFF, BMP, GIF, npz or npy"
HEIC_SUFFIXES = (".heic", ".heif")
# Files in a folder that are read, or refused; others only if they begin as a picture does.
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".npz", ".npy", *HEIC_SUFFIXES, ".avif",
)  # fmt: skip
NO_PICTURE = "is no picture, and was left out"
LINKED_FOLDER = "is a link to a folder, which is not followed; name it too"
MAX_SIDE = 100_000  # an image within MAX_PIXELS can still be a single row
MAX_STDIN_BYTES = 1_000_000_000  # standard input is copied to a temporary file
SIGNATURE_BYTES = 16  # of a file, which tell its format
OTHER_SIGNATURES = (  # format, offset and bytes of files that are often tried
    ("PDF", 0, b"%PDF"),
    ("HEIC", 4, b"ftyphei"),
    ("HEIC", 4, b"ftyphev"),
    ("HEIC", 4, b"ftypmif1"),
    ("AVIF", 4, b"ftypavif"),
)
PICTURE_SIGNATURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"GIF8", b"\x93NUMPY", b"BM",
)  # fmt: skip
ARRAY_SIGNATURES = (b"PK", b"\x93NUMPY")  # npz and npy
# Exceptions of Pillow on damaged files; its decoders document none.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
    AssertionError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip

Convert = Callable[[Image.Image], NDArray[Any]]


class LeftOut(NamedTuple):
    """The name of a file in a folder that is not read, and the reason: it is no mistake."""

    name: str
    reason: str


def expand_paths(
    arguments: Iterable[str], suffixes: tuple[str, ...] = SUFFIXES
) -> Iterator[str | RejectedInput | LeftOut]:
    """Yields the files that `arguments` name; for a folder, every file below it, sorted by name.

    Of a folder's files those with one of `suffixes`, and those that begin as a picture does, are yielded by name.
    """
    for argument in arguments:
        if argument != "-" and os.path.isdir(argument):  # noqa: PTH112 (Path refuses a name with a zero byte)
            yield from _walk(argument, suffixes)
        else:
            yield argument


def read_images(
    name: str, *, deep: bool = False, pixel_range: tuple[float, float] = BYTES
) -> Iterator[Images | RejectedInput]:
    """Yields the images of the file `name` in chunks; `-` is standard input. A RejectedInput ends a damaged file.

    With `deep`, a picture of 16 or 32 bits keeps its values; else `to_bytes` scales it, by the model's `pixel_range`.
    """
    convert = full_depth if deep else partial(to_bytes, pixel_range=pixel_range)
    try:
        with local_file(name) as path:
            yield from _decode(path, name, convert, pixel_range)
    except DataError as error:
        yield RejectedInput(name, str(error))
    except OSError as error:
        raise_fault(error)
        yield RejectedInput(name, f"cannot be read ({error.strerror})")


def count_images(name: str) -> int:
    """Returns about how many images the file `name` holds, for a progress bar; 1 if that is unknown."""
    if name == "-":
        return 1
    try:
        path = regular_file(name)
        return count_array_images(path) if file_signature(path).startswith(ARRAY_SIGNATURES) else 1
    except DataError:
        return 1


def regular_file(name: str) -> Path:
    """Returns the path of the regular file `name`; a device or a pipe could be endless.

    Raises:
        DataError: `name` is not a regular file, or cannot be read.
    """
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except OSError as error:
        raise_fault(error)
        raise DataError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError("is not a valid file name: it holds a zero byte") from error
    if not stat.S_ISREG(mode):
        raise DataError("is neither a file nor a folder")
    return path


def escape_unprintable(text: str) -> str:
    """Returns `text` on one line, safe for a terminal, with unprintable characters and undecodable bytes escaped."""
    if text.isprintable():  # the usual case, and faster
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name that is not UTF-8 (PEP 383)
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def short_message(error: BaseException) -> str:
    """Returns the message of a library's exception on one line of at most 100 characters, or its type."""
    text = " ".join(escape_unprintable(str(error)).split())[:100]
    return text or type(error).__name__


def report_left_out(item: LeftOut) -> None:
    """Prints the note about a file of a folder that is not read, on standard error."""
    tell(mask_urls(escape_unprintable(f"note: {item.name}: {item.reason}")))


def _walk(folder: str, suffixes: tuple[str, ...]) -> Iterator[str | RejectedInput | LeftOut]:
    is_empty = True
    errors: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=errors.append):
        folders.sort()
        paths = [os.path.join(parent, name) for name in folders]  # noqa: PTH118 (names of any bytes)
        yield from (LeftOut(path, LINKED_FOLDER) for path in paths if os.path.islink(path))  # noqa: PTH114
        for file in sorted(files):
            path = os.path.join(parent, file)  # noqa: PTH118
            if file.lower().endswith(suffixes) or _begins_as_a_picture(path):
                is_empty = False
                yield path
            else:
                yield LeftOut(path, NO_PICTURE)
    for error in errors:
        raise_fault(error)
        yield RejectedInput(str(error.filename), f"the folder cannot be read ({error.strerror})")
    if is_empty and not errors:
        what = "image" if suffixes == SUFFIXES else "sample"
        yield RejectedInput(folder, f"the folder holds no {what}, expected files with {', '.join(suffixes)}")


def _begins_as_a_picture(name: str) -> bool:
    """Returns whether the first bytes of the file `name` are those of a picture; True if it cannot be read."""
    if os.path.lexists(name) and not os.path.isfile(name):  # noqa: PTH113 (a pipe would block)
        return not os.path.exists(name)  # noqa: PTH110 (a broken link is refused)
    try:
        signature = file_signature(Path(name))
    except DataError:
        return True
    if signature.startswith(b"BM"):
        return signature[6:10] == bytes(4)  # reserved in a BMP file, and letters in a text
    heic = any(signature[offset:].startswith(start) for kind, offset, start in OTHER_SIGNATURES if kind != "PDF")
    webp = signature[8:12] == b"WEBP" if signature.startswith(b"RIFF") else True  # else a sound or a film
    return heic or (signature.startswith(PICTURE_SIGNATURES) and webp)


@contextmanager
def local_file(name: str) -> Iterator[Path]:
    """Yields the path of a regular file with the content of `name`, until the block ends."""
    if name != "-":
        yield regular_file(name)
        return
    with tempfile.NamedTemporaryFile() as file:
        for block in _blocks(sys.stdin.buffer):
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise OutputError(f"a copy of standard input to {tempfile.gettempdir()}", error) from error
        yield Path(file.name)


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    size = 0
    while True:
        try:
            block = source.read(1 << 20)
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})") from error
        size += len(block)
        if size > MAX_STDIN_BYTES:
            raise DataError(f"has more than {MAX_STDIN_BYTES:,} bytes, which is the limit")
        if not block:
            return
        yield block


def _decode(
    path: Path, name: str, convert: Convert, pixel_range: tuple[float, float]
) -> Iterator[Images | RejectedInput]:
    signature = file_signature(path)
    if not signature:
        raise DataError("is empty")
    if signature.startswith(ARRAY_SIGNATURES):
        yield from read_arrays(path, name, pixel_range)
    else:
        yield Images([name], _read_picture(path, name, convert)[np.newaxis], from_array=False)


def file_signature(path: Path) -> bytes:
    """Returns the first bytes of a file, which tell its format."""
    try:
        with path.open("rb") as file:
            return file.read(SIGNATURE_BYTES)
    except OSError as error:
        raise_fault(error)
        raise DataError(f"cannot be read ({error.strerror})") from error


def _read_picture(path: Path, name: str, convert: Convert) -> NDArray[Any]:
    """Returns the pixels (h, w) or (h, w, 3) of a file of one of FORMATS, upright and without transparency.

    They are of the types that `convert` returns.

    Raises:
        DataError: The file cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings are harmless, or become a DataError below
            with Image.open(path, formats=FORMATS) as image:
                _check_size_and_frames(image)
                image.draft(None, (MIN_SHORT_SIDE, MIN_SHORT_SIDE))
                return convert(image)
    except UnidentifiedImageError as error:
        raise DataError(_unknown_format(file_signature(path), name)) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"has far too many pixels, expected at most {MAX_PIXELS:,} in all ({short_message(error)})"
        ) from error
    except DECODER_ERRORS as error:
        if not isinstance(error, MemoryError):  # a picture may claim any size
            raise_fault(error)
        raise DataError(f"is damaged, cut short or too large ({short_message(error)})") from error


def _unknown_format(signature: bytes, name: str) -> str:
    """Returns the sentence about the file `name` in another format, which begins with `signature`."""
    formats = [kind for kind, offset, start in OTHER_SIGNATURES if signature[offset:].startswith(start)]
    if "HEIC" in formats or (not formats and name.lower().endswith(HEIC_SUFFIXES)):
        is_heic = "is a HEIC file" if formats else "is named as a HEIC file"
        return f"{is_heic}, which the package pillow-heif would read; expected {EXPECTED}; convert it first"
    if formats:
        return f"is a {formats[0]} file, expected {EXPECTED}; convert it first"
    text = signature[:8].decode("ascii", "replace")
    start = repr(text) if text.isascii() and text.isprintable() else f"the bytes {signature[:8].hex(' ')}"
    return (
        f"is not a PNG, JPEG, WebP, TIFF, BMP, GIF, npz or npy file, or its header is damaged: it begins with {start}"
    )


def _check_size_and_frames(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DataError(f"has {width:,} x {height:,} pixels, expected at most {MAX_PIXELS:,} in all")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # the JPEG of a phone: the photograph, then previews or a depth map
        kind = f"has {frames} pages" if image.format == "TIFF" else f"is animated ({frames} frames)"
        raise DataError(f"{kind}, expected one picture")
