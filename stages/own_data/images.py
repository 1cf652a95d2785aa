"""Images of any layout and type as (n, h, w) or (n, h, w, c), in a type and a range that the pipeline reads."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import CHANNELS, SIDES
from stages.data.data_warnings import MIN_USED_SHARE
from stages.data.sample_checks import RANGED_TYPES
from stages.own_data.options import Options
from stages.predict.picture_depth import stretched

DEPTHS = (1023, 4095, 16383, 65535)  # largest values of 10, 12, 14 and 16 bits
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow
ALPHA = 4  # channels with transparency


def laid_out(images: NDArray[Any], count: int, source: str, options: Options, changes: list[str]) -> NDArray[Any]:
    """Returns images (count, h, w) or (count, h, w, 1 or 3); sentences about other layouts are added to `changes`.

    Raises:
        DataError: the layout is not certain, or the size of an image is not possible.
    """
    if images.dtype.kind not in "buif":
        raise DataError(f"{source}: pixels are of the type {images.dtype}, expected numbers")
    shape = images.shape
    if 0 in shape:
        raise DataError(f"{source}: images have the shape {shape}, expected at least 1 on each axis; write them again")
    if count not in (shape[:1] + shape[-1:]):
        raise DataError(f"{source}: {shape[0] if shape else 0:,} images and {count:,} labels, expected equal numbers")
    if shape[0] != count:
        images = np.moveaxis(images, -1, 0)
        changes.append(f"{source}: images lie along the last axis of {shape}, as MATLAB has them")
    if images.ndim == 2:
        images = _unflattened(images, source, options.shape, changes)
    elif images.ndim == 4 and images.shape[3] not in (*CHANNELS, ALPHA) and images.shape[1] in (*CHANNELS, ALPHA):
        images = np.moveaxis(images, 1, 3)
        changes.append(f"{source}: the axis of the colours was the first of each image, and becomes the last")
    if images.ndim == 4 and images.shape[3] == ALPHA:
        images = images[..., :3]
        changes.append(f"{source}: the fourth channel of each image, its transparency, was left out")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in CHANNELS):
        raise DataError(
            f"{source}: images have the shape {shape}, expected (n, h, w), (n, h, w, 1 or 3), (n, 1 or 3, h, w), "
            "(h, w, c, n) or (n, pixels)"
        )
    return _adapted(images, source, options, changes)


def _unflattened(images: NDArray[Any], source: str, shape: Sequence[int] | None, changes: list[str]) -> NDArray[Any]:
    """Returns flat images (n, pixels) as (n, h, w), or as (n, h, w, 3) if `shape` says so."""
    count = images.shape[1]
    side = math.isqrt(count)
    if shape is None and side**2 != count:
        raise DataError(
            f"{source}: {count:,} pixels an image are no square; give the height and the width, such as --shape 28 20, "
            "or --shape 3 32 32 for colours one after another"
        )
    sides = tuple(shape or (side, side))
    if math.prod(sides) != count:
        raise DataError(
            f"{source}: {count:,} pixels an image, but --shape {' '.join(map(str, sides))} has {math.prod(sides):,}"
        )
    changes.append(f"{source}: rows of {count:,} pixels become images of {' x '.join(map(str, sides))}")
    images = images.reshape(-1, *sides)
    return (
        np.moveaxis(images, 1, 3) if len(sides) == 3 and sides[0] in CHANNELS and sides[2] not in CHANNELS else images
    )


def _adapted(images: NDArray[Any], source: str, options: Options, changes: list[str]) -> NDArray[Any]:
    """Returns the images transposed, in grey and resized, as far as the options say so."""
    if options.transpose:
        images = images.swapaxes(1, 2)
        changes.append(f"{source}: rows and columns of each image were swapped")
    if options.grey and images.ndim == 4:
        grey = images @ GREY if images.shape[3] == 3 else images[..., 0]
        images = (np.round(grey) if images.dtype.kind in "ui" else grey).astype(images.dtype)
        changes.append(f"{source}: colours became grey")
    if options.size and list(images.shape[1:3]) != (
        size := (options.size * 2)[:2] if len(options.size) == 1 else options.size
    ):
        if images.dtype != np.uint8:
            raise DataError(
                f"{source}: --size resizes pixels of bytes, but these are {images.dtype}; resize them first"
            )
        flat = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
        images = np.stack([stretched(np.ascontiguousarray(image), size) for image in flat])
        changes.append(f"{source}: images were resized to {size[0]} x {size[1]}")
    if not all(SIDES[0] <= side <= SIDES[1] for side in images.shape[1:3]):
        low, high = SIDES
        raise DataError(
            f"{source}: images have {images.shape[1]} x {images.shape[2]} pixels, expected {low} to {high} a side; "
            "resize them, such as by --size 28"
        )
    return images


class Range(NamedTuple):
    """Type and range of the pixels of one source."""

    source: str
    kind: np.dtype[Any]
    low: float
    high: float

    def __str__(self) -> str:
        """Returns the range for a message."""
        return f"{self.source} {self.kind} from {self.low:g} to {self.high:g}"


def range_of(source: str, images: NDArray[Any]) -> Range:
    """Returns type and range of `images`, which are at least one."""
    return Range(source, images.dtype, float(images.min()), float(images.max()))


def check_ranges(ranges: Sequence[Range]) -> None:
    """Checks that the pixels of all sources can be in one range: bytes beside 0 to 1 would become black, for example.

    Raises:
        DataError: two sources have ranges of different kinds.
    """
    lowest, highest = min(ranges, key=lambda each: each.low), max(ranges, key=lambda each: each.high)
    for each in ranges:
        is_unit = each.kind.kind == "f" and each.low >= -1 and each.high <= 1
        is_byte = each.kind.itemsize == 1
        is_unsigned = each.low >= 0 > lowest.low and highest.high <= 1  # 0 to 1, beside -1 to 1
        other = lowest if is_unsigned else highest
        if is_unsigned or (is_unit and other.high > 1) or (is_byte and other.high > 255):
            raise DataError(
                f"pixels of {each}, and those of {other}, expected one range in all; convert one of them, or, if they "
                f"have the same range, give it, such as --pixels {min(0.0, lowest.low):g} {highest.high:g}"
            )


def typed(
    images: Sequence[NDArray[Any]], chosen: Sequence[float] | None, changes: list[str]
) -> tuple[list[NDArray[Any]], tuple[float, float] | None]:
    """Returns the images of all parts in one type, and the range of their pixels; None means bytes from 0 to 255.

    Args:
        images: of each part.
        chosen: the range, if the user gave it.
        changes: gets sentences about another type.

    Raises:
        DataError: pixels are no numbers, or their range is not certain.
    """
    kind = np.result_type(*images)
    if kind.kind == "f" and not all(np.isfinite(each).all() for each in images):
        raise DataError("some pixels are not a number (NaN) or infinite; repair these images or remove them")
    low, high = float(min(each.min() for each in images)), float(max(each.max() for each in images))
    if chosen is not None and not (chosen[0] <= low and high <= chosen[1]):
        raise DataError(f"pixels are from {low:g} to {high:g}, but --pixels is {chosen[0]:g} {chosen[1]:g}")
    whole = kind.kind in "bui" or all((each % 1 == 0).all() for each in images)
    target = _target(kind, low, high, whole=whole, is_chosen=chosen is not None)
    if target != kind:
        changes.append(f"pixels of the type {kind} are stored as {target}")
    return [each.astype(target, copy=False) for each in images], _range(target, low, high, chosen)


def _target(kind: np.dtype[Any], low: float, high: float, *, whole: bool, is_chosen: bool) -> np.dtype[Any]:
    is_unit = kind.kind == "f" and low >= -1 and high <= 1
    if whole and low >= 0 and high <= 255 and not is_unit:
        return np.dtype(np.uint8)
    if kind.kind in "ui" and low >= 0 and high <= DEPTHS[-1]:
        return np.dtype(np.uint16)
    if (kind.kind == "f" and (is_unit or (low >= 0 and high <= 255))) or is_chosen:
        return kind if kind.name in RANGED_TYPES else np.dtype(np.float32)
    raise DataError(
        f"pixels are {kind} from {low:g} to {high:g}, so black and white are not certain; give them, such as "
        f"--pixels {low:g} {high:g}"
    )


def _range(kind: np.dtype[Any], low: float, high: float, chosen: Sequence[float] | None) -> tuple[float, float] | None:
    if chosen is not None:
        return None if tuple(chosen) == (0, 255) and kind == np.uint8 else (chosen[0], chosen[1])
    if kind == np.uint8:
        return (0.0, high) if 0 < high < 255 * MIN_USED_SHARE else None
    if kind == np.uint16:
        return 0.0, float(next(depth for depth in DEPTHS if high <= depth))
    return (-1.0 if low < 0 else 0.0), (1.0 if high <= 1 else 255.0)
