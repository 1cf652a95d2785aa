"""The digits that scikit-learn ships, brought into MNIST's form: they need no network."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stages.data.datasets import Arrays
from stages.samples.sampling import held_out

SIDE = 8  # of scikit-learn's images, in pixels
BRIGHTEST = 16  # of scikit-learn's pixels
BOX, MARGIN = 20, 4  # MNIST: a box of 20 pixels in an image of 28
TEST_SAMPLES = 360  # of 1,797: one fifth
SEED = 0


def load_digits() -> Arrays:
    """1,437 training and 360 test images, uint8 (n, 28, 28) in 0..255, with labels uint8 (n,).

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998: the
    test part.
    """
    from sklearn.datasets import load_digits as load  # slow, and needed for this data set alone

    small, labels = load(return_X_y=True)
    images = enlarge(small.reshape(-1, SIDE, SIDE).astype(np.int64))
    labels = labels.astype(np.uint8)
    test = held_out(labels, TEST_SAMPLES, SEED)
    return Arrays(images[~test], labels[~test], images[test], labels[test])


def enlarge(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Bilinear enlargement of (n, 8, 8) in 0..16 to a centred box in (n, 28, 28) in 0..255.

    All in integers, so the same bytes come from every machine.
    """
    weights = _bilinear_weights()
    enlarged = weights @ images @ weights.T
    whole = BRIGHTEST * int(weights[0].sum()) ** 2
    pixels = (enlarged * 255 + whole // 2) // whole
    return np.pad(pixels.astype(np.uint8), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))


def _bilinear_weights() -> NDArray[Any]:
    """Integer weights (20, 8) of the old pixels in each new one; every row has the same sum."""
    # The centre of new pixel i lies at (i + 1/2) 8/20 - 1/2 old pixels; here in 40ths of a pixel,
    # and kept between the outermost centres.
    centres = np.clip((2 * np.arange(BOX) + 1) * SIDE - BOX, 0, 2 * BOX * (SIDE - 1))
    distances = np.abs(centres[:, None] - 2 * BOX * np.arange(SIDE))
    return cast(NDArray[Any], np.maximum(2 * BOX - distances, 0))
