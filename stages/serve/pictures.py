"""Pictures in requests: read as `inkflow predict` reads them, and shown as the model sees them."""

import asyncio
import base64
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.base.errors import DataError
from stages.predict.classifier import Classifier
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import FORMATS, read_images
from stages.serve.batching import Busy
from stages.serve.served_model import ServedModel
from stages.serve.settings import Settings

NAME = "picture"
THREADS, MAX_WAITING = 2, 64
ARRAYS = (b"PK", b"\x93NUMPY")  # npz and npy: unpacked they may be very large
MAX_SIDE = 20_000  # pixels: decoders reduce a picture by its shorter side


class Decoder:
    """Reads pictures in threads of its own, a few at a time: one may take 300 MB while it is unpacked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, "pictures")
        self._waiting = 0

    async def read(self, body: bytes, model: ServedModel) -> NDArray[np.float32]:
        """Returns the picture in `body` as the model takes it: float32 (1, *shape) in 0..255.

        Raises:
            DataError: it is no picture, too large, or shows nothing that can be classified.
            Busy: too many pictures wait.
            TimeoutError: it takes longer than the time limit.
        """
        if self._waiting >= MAX_WAITING:
            raise Busy
        self._waiting += 1
        try:
            read = partial(read_picture, body, model.classifier, self._settings.max_pixels)
            task = asyncio.get_running_loop().run_in_executor(self._threads, read)
            return await asyncio.wait_for(task, self._settings.timeout_s)
        finally:
            self._waiting -= 1


def read_picture(body: bytes, classifier: Classifier, max_pixels: int) -> NDArray[np.float32]:
    """Returns the picture in `body` as the model takes it: float32 (1, *shape) in 0..255.

    Raises:
        DataError: it is no picture, too large, or shows nothing that can be classified; or the model takes none.
    """
    if classifier.form is not None:
        raise DataError(
            f"/predict takes pictures, but the model takes {classifier.form}; send those to /v2/models/NAME/infer"
        )
    if body.startswith(ARRAYS):
        raise DataError("is an array file, expected one picture; send arrays to /v2/models/NAME/infer")
    _check_size(body, max_pixels)
    with tempfile.TemporaryDirectory() as folder:  # the readers take files
        path = Path(folder) / NAME
        path.write_bytes(body)
        images = list(islice(read_images(str(path), pixel_range=classifier.pixel_range), 2))
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
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise DataError(f"has far too many pixels, expected at most {max_pixels:,}") from error
    except Exception:  # noqa: BLE001 - decoders raise many errors, and the reader names them
        return
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise DataError(
            f"has {width:,} x {height:,} pixels, expected at most {max_pixels:,} in all and {MAX_SIDE:,} a side"
        )
