"""Images in npz and npy files, read in pieces, so that a file may be larger than memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.npz import Entry, array_names, open_npy, open_npz

MAX_PIXELS = 50_000_000  # of one image: as many as the largest telephones make, 150 MB in colour
MAX_BYTES = 4_000_000_000  # of an array file, unpacked
PIECE = 1_000_000  # values in one piece, if an image is not larger itself: 4 MB of float32
NPY = b"\x93NUMPY"


class Images(NamedTuple):
    """Some images of equal form, and what each is called.

    `pixels` is uint8 or float32 in 0..255, (n, h, w) grey or (n, h, w, 3) colour; `of_array`: an array holds them.
    """

    names: list[str]
    pixels: NDArray[Any]
    of_array: bool


class Refusal(NamedTuple):
    """An input that cannot be used, and why: one sentence."""

    name: str
    reason: str


def array_images(path: Path, name: str) -> Iterator[Images | Refusal]:
    """The images of the npz or npy file `path`, called `name[0]`, or `name:array[0]` in an npz file.

    Raises:
        DataError: the file is damaged, or holds no array of images.
    """
    with _arrays(path) as entries:
        if not entries:
            raise DataError("holds no array of images, expected one of shape (n, h, w) or (n, h, w, c)")
        for array, entry in entries.items():
            label = f"{name}:{array}" if array else name
            try:
                yield from _images(entry, label)
            except DataError as error:
                yield Refusal(label, str(error))


def images_in(path: Path) -> int:
    """How many images the npz or npy file `path` says it holds.

    Raises:
        DataError: the file is damaged.
    """
    with _arrays(path) as entries:
        return sum(1 if _is_single(entry.shape) else entry.shape[0] for entry in entries.values())


@contextmanager
def _arrays(path: Path) -> Iterator[dict[str, Entry]]:
    """The arrays of a file that may hold images, by name; labels and the like have one dimension."""
    with path.open("rb") as file:
        bare = file.read(len(NPY)) == NPY
    if bare:
        yield {"": open_npy(path, "its array", MAX_BYTES)}
        return
    with open_npz(path, array_names(path), MAX_BYTES) as entries:
        yield {name: entry for name, entry in entries.items() if len(entry.shape) > 1}


def _images(entry: Entry, label: str) -> Iterator[Images]:
    factor = _factor(entry)
    if _is_single(entry.shape):
        yield Images([label], _channels(_scaled(entry.read()[np.newaxis], factor)), of_array=True)
        return
    start = 0
    for chunk in entry.chunks(_rows(entry)):
        names = [f"{label}[{number}]" for number in range(start, start + len(chunk))]
        yield Images(names, _channels(_scaled(chunk, factor)), of_array=True)
        start += len(chunk)


def _factor(entry: Entry) -> float:
    """What brings the pixels of `entry` to 0..255.

    Raises:
        DataError: the array does not hold images.
    """
    shape, kind = entry.shape, entry.dtype.kind
    known = len(shape) in (2, 3) or (len(shape) == 4 and shape[3] in (1, 3, 4))
    if known and 0 in shape:
        raise DataError(f"is an empty array of shape {shape}: there is nothing to classify")
    if not known or kind not in "buif":
        raise DataError(f"is {entry.dtype} of shape {shape}, expected numbers of shape (n, h, w) or (n, h, w, 1 or 3)")
    sides = shape if _is_single(shape) else shape[1:]
    if math.prod(sides) > MAX_PIXELS:
        raise DataError(f"has images of shape {sides}, expected at most {MAX_PIXELS:,} pixels")
    if kind == "b" or entry.dtype == np.uint8:
        return 255.0 if kind == "b" else 1.0
    low, high = _range(entry)
    if entry.dtype.itemsize == 2 and kind == "u" and high > 255:
        return 1 / 257
    if not (low >= 0 and high <= 255):
        raise DataError(f"has pixels from {low:g} to {high:g}, expected 0 to 255, or 0 to 1")
    return 255.0 if kind == "f" and high <= 1 else 1.0


def _range(entry: Entry) -> tuple[float, float]:
    """Smallest and largest value of the array; NaN where it holds one."""
    whole = entry.fortran and _is_single(entry.shape)  # several in that order are refused, before they are read
    pieces = [entry.read()] if whole else entry.chunks(_rows(entry))
    ends = [(float(piece.min()), float(piece.max())) for piece in pieces]
    return float(np.min([low for low, _ in ends])), float(np.max([high for _, high in ends]))


def _rows(entry: Entry) -> int:
    return max(1, PIECE // math.prod(entry.shape[1:]))


def _scaled(pixels: NDArray[Any], factor: float) -> NDArray[Any]:
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32) * np.float32(factor)


def _channels(pixels: NDArray[Any]) -> NDArray[Any]:
    """(n, h, w) or (n, h, w, 3): one channel is grey, a fourth is alpha, which is left out."""
    if pixels.ndim == 3 or pixels.shape[3] == 3:
        return pixels
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels[..., :3]


def _is_single(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is one image: (h, w), or (h, w, 3 or 4)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
