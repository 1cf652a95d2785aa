"""Reads images from npz and npy files in chunks, so that a file can be larger than memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.npz import Entry, array_names, open_npy, open_npz
from stages.predict.picture_depth import BYTES

MAX_PIXELS = 50_000_000  # of one image: the size of the largest phone photographs, 150 MB in colour
MAX_BYTES = 4_000_000_000  # of an array file, unpacked
CHUNK_VALUES = 1_000_000  # in one chunk, or one larger image: 4 MB of float32
NPY_MAGIC = b"\x93NUMPY"


class Images(NamedTuple):
    """Some images of the same shape, and their names.

    Attributes:
        names: One name for each image.
        pixels: uint8 or float32 in 0..255, (n, h, w) in grey or (n, h, w, 3) in colour; of a picture that is read with
            its depth also uint16, int32 or float32 as in its file.
        from_array: Whether they come from an array file, not from a picture.
    """

    names: list[str]
    pixels: NDArray[Any]
    from_array: bool


class RejectedInput(NamedTuple):
    """The name of an input that cannot be classified, and the reason in one sentence."""

    name: str
    reason: str


def read_arrays(path: Path, name: str, pixel_range: tuple[float, float] = BYTES) -> Iterator[Images | RejectedInput]:
    """Yields the images of the npz or npy file `path`, named `name[0]`, in an npz file `name:array[0]`.

    White in an array of 16 bits is that of the model's `pixel_range` if no pixel exceeds it, else 65535.

    Raises:
        DataError: The file is damaged, or holds no array of images.
    """
    with open_arrays(path) as entries:
        if not entries:
            raise DataError("holds no array of images, expected one of shape (n, h, w) or (n, h, w, c)")
        for array, entry in entries.items():
            label = f"{name}:{array}" if array else name
            try:
                yield from _read_entry(entry, label, pixel_range)
            except DataError as error:
                yield RejectedInput(label, str(error))


def count_array_images(path: Path) -> int:
    """Returns the number of images in the npz or npy file `path`, according to its headers.

    Raises:
        DataError: The file is damaged.
    """
    with open_arrays(path) as entries:
        shapes = [entry.shape for entry in entries.values()]
        return sum(shape[0] if shape and not _is_one_image(shape) else 1 for shape in shapes)


@contextmanager
def open_arrays(path: Path) -> Iterator[dict[str, Entry]]:
    """Yields the arrays of a file by name, without arrays of one dimension in an npz file, such as labels."""
    with path.open("rb") as file:
        is_npy = file.read(len(NPY_MAGIC)) == NPY_MAGIC
    if is_npy:
        yield {"": open_npy(path, "its array", MAX_BYTES)}
        return
    with open_npz(path, array_names(path), MAX_BYTES) as entries:
        yield {name: entry for name, entry in entries.items() if len(entry.shape) > 1}


def _read_entry(entry: Entry, label: str, pixel_range: tuple[float, float]) -> Iterator[Images]:
    scale = _scale(entry, pixel_range)
    if _is_one_image(entry.shape):
        yield Images([label], _grey_or_rgb(_scaled(entry.read()[np.newaxis], *scale)), from_array=True)
        return
    start = 0
    for chunk in entry.chunks(_images_per_chunk(entry)):
        names = [f"{label}[{number}]" for number in range(start, start + len(chunk))]
        yield Images(names, _grey_or_rgb(_scaled(chunk, *scale)), from_array=True)
        start += len(chunk)


def _scale(entry: Entry, pixel_range: tuple[float, float]) -> tuple[float, float]:
    """Returns black, and the factor that brings the pixels of `entry` above it to 0..255.

    Unsigned integers of 16 bits in the range of the model are of this range, as those of a picture.

    Raises:
        DataError: The array does not hold images.
    """
    shape, kind = entry.shape, entry.dtype.kind
    is_known = len(shape) in (2, 3) or (len(shape) == 4 and shape[3] in (1, 3, 4))
    if is_known and 0 in shape:
        raise DataError(f"is an empty array of shape {shape}: there is nothing to classify")
    if not is_known or kind not in "buif":
        raise DataError(f"is {entry.dtype} of shape {shape}, expected numbers of shape (n, h, w) or (n, h, w, 1 or 3)")
    sides = shape if _is_one_image(shape) else shape[1:]
    if math.prod(sides) > MAX_PIXELS:
        raise DataError(f"has images of shape {sides}, expected at most {MAX_PIXELS:,} pixels")
    if kind == "b" or entry.dtype == np.uint8:
        return 0.0, 255.0 if kind == "b" else 1.0
    low, high = _value_range(entry)
    if entry.dtype.itemsize == 2 and kind == "u":
        black, white = pixel_range
        if pixel_range != BYTES and black <= low and high <= white and black < white:
            return black, 255 / (white - black)
        if high > 255:
            return 0.0, 1 / 257
    if not (low >= 0 and high <= 255):
        raise DataError(f"has pixels from {low:g} to {high:g}, expected 0 to 255, or 0 to 1")
    return 0.0, 255.0 if kind == "f" and high <= 1 else 1.0


def _value_range(entry: Entry) -> tuple[float, float]:
    """Returns the minimum and maximum of the array, NaN if it holds a NaN."""
    # Fortran order is accepted for one image only; `chunks` refuses other arrays before it reads them.
    read_whole = entry.fortran and _is_one_image(entry.shape)
    chunks = [entry.read()] if read_whole else entry.chunks(_images_per_chunk(entry))
    ranges = [(float(chunk.min()), float(chunk.max())) for chunk in chunks]
    return float(np.min([low for low, _ in ranges])), float(np.max([high for _, high in ranges]))


def _images_per_chunk(entry: Entry) -> int:
    return max(1, CHUNK_VALUES // math.prod(entry.shape[1:]))


def _scaled(pixels: NDArray[Any], black: float, factor: float) -> NDArray[Any]:
    return pixels if pixels.dtype == np.uint8 else (pixels.astype(np.float32) - np.float32(black)) * np.float32(factor)


def _grey_or_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """Returns pixels (n, h, w) or (n, h, w, 3): drops the axis of a single channel, and a fourth channel, alpha."""
    if pixels.ndim == 3 or pixels.shape[3] == 3:
        return pixels
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels[..., :3]


def _is_one_image(shape: tuple[int, ...]) -> bool:
    """Returns whether an array of this shape is one image: (h, w), or (h, w, 3 or 4)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
