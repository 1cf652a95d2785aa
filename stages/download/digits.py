"""The data set of handwritten digits in scikit-learn, converted to the form of MNIST. Needs no network."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stages.data.datasets import Arrays
from stages.samples.sampling import held_out_mask

SIDE = 8  # pixels of a side of scikit-learn's images
WHITE = 16  # largest pixel value of scikit-learn's images
BOX, MARGIN = 20, 4  # MNIST: a box of 20 pixels in an image of 28
TEST_SAMPLES = 360  # of 1,797: one fifth
SEED = 0


def load_digits() -> Arrays:
    """Returns 1,437 training and 360 test images, uint8 (n, 28, 28) in 0..255, and labels uint8 (n,).

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998: the test part.
    """
    from sklearn.datasets import load_digits as load  # slow, and needed only for this data set

    small, labels = load(return_X_y=True)
    images = enlarge(small.reshape(-1, SIDE, SIDE).astype(np.int64))
    labels = labels.astype(np.uint8)
    test = held_out_mask(labels, TEST_SAMPLES, SEED)
    return Arrays(images[~test], labels[~test], images[test], labels[test])


def enlarge(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Enlarges images (n, 8, 8) in 0..16 bilinearly to a centred box in (n, 28, 28) in 0..255.

    The computation uses only integers, so the result has the same bytes on every machine.
    """
    weights = _bilinear_weights()
    enlarged = weights @ images @ weights.T
    white = WHITE * int(weights[0].sum()) ** 2
    pixels = (enlarged * 255 + white // 2) // white
    return np.pad(pixels.astype(np.uint8), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))


def _bilinear_weights() -> NDArray[Any]:
    """Returns the integer weights (20, 8) of the old pixels in each new pixel; all rows have the same sum."""
    # The centre of new pixel i is at (i + 1/2) 8/20 - 1/2 old pixels. The unit here is 1/40 of an old pixel, and the
    # centres are clipped to the outermost old centres.
    centres = np.clip((2 * np.arange(BOX) + 1) * SIDE - BOX, 0, 2 * BOX * (SIDE - 1))
    distances = np.abs(centres[:, None] - 2 * BOX * np.arange(SIDE))
    return cast(NDArray[Any], np.maximum(2 * BOX - distances, 0))
