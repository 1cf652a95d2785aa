"""Checks the arrays of samples: images, vectors, sequences and tokens."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.base.sample_kinds import KINDS, Kind, array_form, shape_error
from stages.data.config import CHANNELS, SIDES
from stages.data.npz import Entry
from stages.samples.pixels import Pixels

RANGED_TYPES = ("uint16", "float16", "float32", "float64")  # of pixels that need `pixels`, their range, in params.yaml
LARGEST = 1e30  # value of a feature: float32 holds it, its square root and its differences
PADDING = "pad sequences of different lengths with 0 to one length, as keras.utils.pad_sequences does"


def check_header(entry: Entry, kind: Kind, *, floats: bool) -> None:
    """Checks shape and type of an unread array of samples; `floats`: whether pixels may be of the RANGED_TYPES.

    Raises:
        DataError: they do not suit the kind.
    """
    if kind == "image":
        _check_images(entry, floats)
        return
    numbers, kinds = ("integers", "iu") if kind == "tokens" else ("numbers", "iuf")
    if entry.dtype.kind not in kinds:
        raise DataError(f"{entry.name} has the type {entry.dtype}, expected {numbers}, because `kind` is {kind}")
    if len(entry.shape) != 1 + len(KINDS[kind].axes):
        raise DataError(
            f"{entry.name} has shape {entry.shape}, expected {array_form(kind)}, because `kind` is {kind}"
            + (f"; {PADDING}" if len(entry.shape) == 1 and kind != "vector" else "")
        )
    if message := shape_error(kind, entry.shape[1:]):
        raise DataError(f"{entry.name} has {KINDS[kind].noun}s of a wrong size: {message}")


def check_samples(name: str, samples: NDArray[Any], kind: Kind, pixels: Pixels, vocabulary: int | None) -> None:
    """Checks the values of samples (n, ...): `pixels` is the range of those of images.

    Raises:
        DataError: a value is not allowed.
    """
    if kind == "image":
        check_range(name, samples, pixels)
    else:
        _check_values(name, samples, vocabulary)


def check_range(name: str, images: NDArray[Any], pixels: Pixels) -> None:
    """Checks that all pixels are in the range `pixels`.

    Raises:
        DataError: a pixel is outside the range or not a number (NaN).
    """
    low, high = images.min(), images.max()  # NaN if any pixel is NaN
    if not (pixels.low <= low and high <= pixels.high):
        got = "some of them not a number (NaN)" if np.isnan(low) else f"from {low:g} to {high:g}"
        raise DataError(f"{name} has pixels {got}, expected {pixels.low:g} to {pixels.high:g} (`pixels`)")


def _check_values(name: str, samples: NDArray[Any], vocabulary: int | None) -> None:
    """Checks that all features are finite, or, if there is a `vocabulary`, that all tokens are below it."""
    low, high = samples.min(), samples.max()  # NaN if any value is NaN
    if vocabulary is None:
        if not (low >= -LARGEST and high <= LARGEST):
            got = "a value that is not a number (NaN)" if np.isnan(low) else f"values from {low:g} to {high:g}"
            raise DataError(f"{name} has {got}, expected finite numbers of at most {LARGEST:g}")
    elif low < 0 or high >= vocabulary:
        raise DataError(
            f"{name} has the token {low if low < 0 else high}, expected 0 to {vocabulary - 1}, below `vocabulary`; "
            "raise it, or replace rare tokens by one for all of them, as keras.datasets.imdb does with num_words"
        )


def _check_images(images: Entry, floats: bool) -> None:
    name, shape = images.name, images.shape
    if images.dtype != np.uint8 and not (floats and images.dtype.name in RANGED_TYPES):
        nan = ", some of them not a number (NaN)" if _has_nan(images) else ""
        raise DataError(
            f"{name} has pixels of type {images.dtype}{nan}, "
            f"expected uint8, or one of {', '.join(RANGED_TYPES)} with their range in params.yaml (`pixels`)"
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in CHANNELS):
        raise DataError(f"{name} has shape {shape}, expected (n, h, w) or (n, h, w, 1 or 3)")
    if not all(SIDES[0] <= side <= SIDES[1] for side in shape[1:3]):
        low, high = SIDES
        raise DataError(f"{name} has images of {shape[1:3]} pixels, expected {low} to {high}")


def _has_nan(images: Entry) -> bool:
    if images.dtype.kind != "f" or not images.shape or images.fortran:
        return False
    return any(bool(np.isnan(chunk).any()) for chunk in images.chunks(1_000))
