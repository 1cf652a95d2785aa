"""Many small images as one PNG, which costs a page far less than a file for each."""

import base64
import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

COLUMNS = 25
SIDE = 32  # pixels; larger images are made smaller


def sprite(images: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Returns images (n, h, w) or (n, h, w, c) as tiles of one picture: PNG in base64, its columns and a tile's size.

    Grey images are black on transparent, as in the report.
    """
    grey = images.ndim == 3 or images.shape[-1] == 1
    tiles = [_tile(image, grey=grey) for image in images]
    width, height = tiles[0].size
    rows = math.ceil(len(tiles) / COLUMNS)
    sheet = Image.new("LA" if grey else "RGB", (COLUMNS * width, rows * height))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % COLUMNS * width, number // COLUMNS * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"png": png, "columns": COLUMNS, "rows": rows, "width": width, "height": height, "grey": grey}


def _tile(image: npt.NDArray[np.uint8], *, grey: bool) -> Image.Image:
    if grey:
        levels = image.reshape(image.shape[:2])
        image = np.dstack([np.zeros_like(levels), levels])
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((SIDE, SIDE))
    return picture
