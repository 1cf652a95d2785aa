"""Pictures in requests: read as `inkflow predict` reads them, and shown as the model sees them."""

import base64
import io
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.base.errors import DataError
from stages.predict.classifier import Classifier
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import read_images

NAME = "picture"


def read_picture(body: bytes, classifier: Classifier, max_pixels: int) -> NDArray[np.float32]:
    """Returns the picture in `body` as the model takes it: float32 (1, *shape) in 0..255.

    Raises:
        DataError: it is no picture, too large, or shows nothing that can be classified.
    """
    _check_size(body, max_pixels)
    with tempfile.TemporaryDirectory() as folder:  # the readers take files
        path = Path(folder) / NAME
        path.write_bytes(body)
        images = list(read_images(str(path)))
    if len(images) != 1 or (not isinstance(images[0], RejectedInput) and len(images[0].names) != 1):
        raise DataError("holds several images, expected one picture")
    for part in classifier.fit_to_input(images[0], raw=False) if not isinstance(images[0], RejectedInput) else images:
        if isinstance(part, RejectedInput):
            raise DataError(part.reason)
        return np.asarray(part.pixels, np.float32)
    raise DataError("holds no picture")


def as_png(pixels: NDArray[np.float32]) -> str:
    """Returns one image (h, w), (h, w, 1) or (h, w, 3) in 0..255 as the address of a PNG."""
    values = np.clip(pixels, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _check_size(body: bytes, max_pixels: int) -> None:
    """Checks the size that the header of a picture states, before anything is unpacked.

    Raises:
        DataError: it is larger; what is no picture is left to the reader, which says what it is.
    """
    try:
        with Image.open(io.BytesIO(body)) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise DataError(f"has far too many pixels, expected at most {max_pixels:,}") from error
    except Exception:  # noqa: BLE001 - decoders raise many errors, and the reader names them
        return
    if width * height > max_pixels:
        raise DataError(f"has {width:,} x {height:,} pixels, expected at most {max_pixels:,} in all")
