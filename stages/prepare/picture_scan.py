"""Whether the images of a data set have MNIST's form, to which pictures are converted before a model gets them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.samples.picture_form import PictureForm, has_light_border, has_mnist_form
from stages.samples.pixels import Pixels

SAMPLES = 1000  # images looked at, evenly spaced, at most twice as many
MIN_SHARE = 0.25  # of images with MNIST's form: of MNIST all have it, of scikit-learn's digits 51 %, of other data 0 %
WHITE = 255
NEARLY_ALL = 0.95  # of images with one kind of border


class PictureScan:
    """Looks at some images of a data set, which come in chunks."""

    def __init__(self, count: int, pixels: Pixels) -> None:
        """Begins with `count` images of the range `pixels`."""
        self._step, self._next, self._pixels = max(1, count // SAMPLES), 0, pixels
        self._seen = self._have_form = self._light = 0

    def add(self, images: NDArray[Any]) -> None:
        """Adds raw images (n, h, w) or (n, h, w, 1 or 3), which come after the earlier ones."""
        chosen = images[self._next :: self._step]
        self._next += len(chosen) * self._step - len(images)
        if chosen.ndim == 4 and chosen.shape[3] != 1:  # colours are not converted
            return
        values = (chosen.astype(np.float64) - self._pixels.low) * (WHITE / self._pixels.span)
        for image in values.clip(0, WHITE).round().astype(np.uint8).reshape(-1, *images.shape[1:3]):
            self._seen += 1
            self._have_form += has_mnist_form(image)
            self._light += has_light_border(image)

    def form(self) -> PictureForm | None:
        """Returns the form of the images, None if it is that of MNIST or they have colours."""
        if not self._seen or self._have_form >= MIN_SHARE * self._seen:
            return None
        light = self._light / self._seen
        is_one_kind = max(light, 1 - light) >= NEARLY_ALL
        return PictureForm(background="mixed" if not is_one_kind else "light" if light > 0.5 else "dark")
