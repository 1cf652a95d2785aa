"""The form of the pictures that a model was trained with: that of MNIST's images, or one of their own."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

BOX_SHARE = 20 / 28  # of the field's shorter side, for the digit
MIN_WHITE = 128  # of the lightest pixel of a digit
BORDER_DIVISOR = 16  # the outer 16th of each side is taken for paper


class PictureForm(BaseModel):
    """The form of grey pictures that do not have MNIST's form; those that have it need no such entry.

    Such a picture is made grey and stretched to the model's size, as the training's own pictures were, and not
    converted to MNIST's form. But ink on light paper is converted if `background` is dark: if nearly all training
    images have a dark border. It is light if nearly all have a light one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversion: Literal["stretch"] = "stretch"
    background: Literal["dark", "light", "mixed"]


def has_mnist_form(image: NDArray[np.uint8]) -> bool:
    """Returns whether `image` (h, w) has paper of 0, a digit of the box's size, and its mass in the centre."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    if not rows.size or int(image.max()) < MIN_WHITE:
        return False
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    offset = centre_of_mass(image) - np.array(image.shape) / 2
    return bool(abs(longer - BOX_SHARE * min(image.shape)) <= 1 and np.abs(offset).max() <= 1)


def has_light_border(image: NDArray[Any]) -> bool:
    """Returns whether most pixels at the border of `image` (h, w) in 0..255 are light."""
    light = np.asarray(image) >= MIN_WHITE
    rows, columns = (max(1, side // BORDER_DIVISOR) for side in light.shape)
    inner = light[rows:-rows, columns:-columns]
    return bool(2 * (light.sum() - inner.sum()) > light.size - inner.size)


def centre_of_mass(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """Returns the row and column of the brightness's centre of mass, counted from 0 (float64 (2,))."""
    values = image.astype(np.float64)
    moments = [values.sum(axis=1 - axis) @ np.arange(values.shape[axis]) for axis in (0, 1)]
    centre: NDArray[np.float64] = np.array(moments) / values.sum()
    return centre
