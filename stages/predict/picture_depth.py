"""The pixels of a picture that Pillow opened: scaled to 8 bits or with the depth of its file, grey, and of a size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from stages.base.errors import DataError

BYTES = (0.0, 255.0)  # black and white of a model whose training images were bytes
MIN_SHORT_SIDE = 640  # a larger image is reduced until its shorter side has 1 to 2 times as many pixels
DEEP_MODES = ("I", "F")  # starts of Pillow's modes of one channel of 16 or 32 bits


def to_bytes(image: Image.Image, pixel_range: tuple[float, float]) -> NDArray[Any]:
    """Returns the picture as `to_8_bit` does, or a grey one of 16 or 32 bits as float32 (h, w) in 0..255.

    Black and white of the latter are those in `pixel_range` of the model if all pixels are between them: `inkflow data
    add` keeps the values of such pictures too. Pictures outside of that range, floats in 0..1 for a model of larger
    numbers, and pictures for a model of bytes are scaled as in `to_8_bit`.
    """
    if pixel_range != BYTES and image.mode.startswith(DEEP_MODES):
        low, high = pixel_range
        ImageOps.exif_transpose(image, in_place=True)
        values = _finite(np.asarray(image).astype(np.float32))
        least, greatest = float(values.min()), float(values.max())
        is_share = image.mode == "F" and least >= 0 and greatest <= 1 < high  # of white
        if low <= least and greatest <= high and low < high and not is_share:
            return (values - np.float32(low)) * np.float32(255 / (high - low))
    return to_8_bit(image)


def to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the picture as 8-bit grey or RGB; rotates `image` itself upright, as a copy could take 200 MB."""
    ImageOps.exif_transpose(image, in_place=True)
    factor = min(image.size) // MIN_SHORT_SIDE
    if image.mode.startswith(DEEP_MODES):
        return _deep_to_8_bit(_finite(np.asarray(image).astype(np.float32)), image.mode)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if factor > 1:
        image = image.reduce(factor)
    return np.asarray(_on_background(image) if image.mode == "RGBA" else image, np.uint8)


def full_depth(image: Image.Image) -> NDArray[Any]:
    """Returns a grey picture of 16 or 32 bits as uint16, int32 or float32 (h, w), and any other one as `to_8_bit` does.

    Raises:
        DataError: it has several channels of 16 bits, of which Pillow reads 8.
    """
    if not image.mode.startswith(DEEP_MODES):
        if image.format in ("PNG", "TIFF") and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
            raise DataError(
                "has colours or transparency of 16 bits, of which 8 would be lost; convert it to 8 bits a colour first"
            )
        return to_8_bit(image)
    ImageOps.exif_transpose(image, in_place=True)
    kind = np.uint16 if image.mode.startswith("I;16") else np.int32 if image.mode == "I" else np.float32
    return _finite(np.asarray(image).astype(kind))


def as_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """Returns `pixels` (h, w) as they are, colours (h, w, 3) in 0..255 as grey of 8 bits."""
    if pixels.ndim == 2:
        return pixels
    return np.asarray(Image.fromarray(pixels.round().astype(np.uint8)).convert("L"))


def stretched(image: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Returns `image` (h, w) or (h, w, 3) stretched to `size` (height, width), as Keras's folders of images are.

    One of more than 8 bits has no colours.
    """
    if image.shape[:2] == tuple(size):
        return image
    source = image if image.dtype == np.uint8 else image.astype(np.float32)  # the types that Pillow interpolates
    pixels = np.asarray(Image.fromarray(source).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return (pixels if image.dtype.kind == "f" else np.round(pixels)).astype(image.dtype)


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise DataError("has pixels that are no finite numbers")
    return values


def _deep_to_8_bit(values: NDArray[np.float32], mode: str) -> NDArray[np.uint8]:
    """Returns grey `values` of 16 bits as 8 bits; they may be in 0..255 too, and floats in 0..1."""
    high = float(values.max())
    factor = 1 / 257 if high > 255 else 1.0 if high > 1 or not mode.startswith("F") else 255.0
    return np.asarray(np.clip(values * np.float32(factor), 0, 255).round(), np.uint8)


def _on_background(image: Image.Image) -> Image.Image:
    """Returns `image` (RGBA) on white, or on black if its strokes are light: they would vanish on white."""
    alpha = np.asarray(image.getchannel("A"), np.float32)
    grey = np.asarray(image.convert("RGB").convert("L"), np.float32)
    weight = float(alpha.sum())
    is_light = weight > 0 and float((grey * alpha).sum()) / weight > 127.5 and bool((alpha < 128).any())
    background = Image.new("RGBA", image.size, (0, 0, 0, 255) if is_light else (255, 255, 255, 255))
    return Image.alpha_composite(background, image).convert("RGB")
