"""Images of the data set as PNG files inside the page."""

import base64
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.report.data_card import ByteImages

Pixels = NDArray[np.uint8]

LARGEST_SIDE = 96  # pixels; larger images are shown smaller
IMAGES_BYTES = 1_500_000  # of base64, which keeps a page of five models well below 5 MB


def encode_image(image: Pixels) -> str:
    """Returns a raw image (h, w) or (h, w, c) as PNG in base64: colour unchanged, grey as black on transparent."""
    if is_grey(image):
        grey = image.reshape(image.shape[:2])
        image = np.dstack([np.zeros_like(grey), grey])
    picture = Image.fromarray(np.ascontiguousarray(image))
    if max(picture.size) > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return _encode(picture)


def is_grey(image: Pixels) -> bool:
    """Returns whether the image has one channel; dark pages draw such images in white."""
    return image.ndim == 2 or image.shape[-1] == 1


def heatmap(strength: NDArray[np.floating]) -> str:
    """Returns a PNG in base64 with a pixel for each cell of `strength` (n, n) in [0, 1], from transparent to red."""
    alpha = np.round(255 * strength).astype(np.uint8)
    red = np.broadcast_to(np.array([200, 40, 40], np.uint8), (*alpha.shape, 3))
    return _encode(Image.fromarray(np.dstack([red, alpha])))


def encode_images(images: ByteImages, indexes: Iterable[int], budget: int = IMAGES_BYTES) -> dict[str, str]:
    """Returns the images of `indexes` in base64 by index, in this order, as many as fit into `budget` bytes."""
    encoded: dict[str, str] = {}
    for index in indexes:
        text = encode_image(images.image(index))
        budget -= len(text)
        if budget < 0:
            break
        encoded[str(index)] = text
    return encoded


def _encode(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
