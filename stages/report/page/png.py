"""Images of the data set as PNG files inside the page."""

import base64
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.report.data_card import ByteImages

Images = NDArray[np.uint8]

LARGEST_SIDE = 96  # pixels; larger images are shown smaller
ALBUM_BYTES = 1_500_000  # of base64: with it a page of five models stays well below 5 MB


def png(image: Images) -> str:
    """One raw image (h, w) or (h, w, c) as base64: colour as is, grey as black ink on clear paper."""
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    pixels = np.dstack([np.zeros_like(image), image]) if image.ndim == 2 else image
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def png_uri(image: Images) -> str:
    """The same as a data URI."""
    return f"data:image/png;base64,{png(image)}"


def is_ink(image: Images) -> bool:
    """Whether the image is grey, and so drawn as ink that dark pages turn white."""
    return image.ndim == 2 or image.shape[-1] == 1


def heat_uri(strength: np.ndarray) -> str:
    """A picture with a pixel for each cell, red as strong as `strength` (n, n) in 0 to 1 says, as a data URI."""
    alpha = np.round(255 * strength).astype(np.uint8)
    red = np.broadcast_to(np.array([200, 40, 40], np.uint8), (*alpha.shape, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([red, alpha])).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def album(images: ByteImages, indexes: Iterable[int], budget: int = ALBUM_BYTES) -> dict[str, str]:
    """As many of the images as fit into `budget` bytes, in the order of `indexes`: index to base64."""
    found: dict[str, str] = {}
    for index in indexes:
        text = png(images.of(index))
        budget -= len(text)
        if budget < 0:
            break
        found[str(index)] = text
    return found
