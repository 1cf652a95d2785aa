"""Digits of any origin in MNIST's form, compared with SciPy and with MNIST itself."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stages.base.errors import DataError
from stages.predict import mnist_form
from tests.support.pictures import draw, scan, template


def grey(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels (h, w)."""
    return np.asarray(image.convert("L"))


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("dark_on_light", [True, False])
def test_scan_becomes_the_template(digit: int, dark_on_light: bool) -> None:
    """A scan in the form of MNIST is like the template that SciPy makes of the clean drawing, whichever is darker."""
    field = mnist_form.to_field(grey(scan(digit, digit, dark_on_light=dark_on_light)), 28, 28)
    smooth = ndimage.gaussian_filter(field, 1).ravel()  # strokes that lie a pixel apart are still alike
    others = [ndimage.gaussian_filter(template(other), 1).ravel() for other in range(10)]
    alike = [float(np.corrcoef(smooth, other)[0, 1]) for other in others]
    assert int(np.argmax(alike)) == digit
    assert alike[digit] > 0.8


def lit(kind: str, digit: int) -> NDArray[np.uint8]:
    """A dark digit on paper in light that no plane describes, or with the table around the paper, as grey pixels."""
    ink = np.asarray(draw(digit, 250), np.float64) / 255
    page = 235 - 190 * ink
    down, right = np.meshgrid(*(np.linspace(-1, 1, side) for side in ink.shape), indexing="ij")
    if kind == "hard shadow":
        page *= ndimage.gaussian_filter(np.where(right < -0.1, 0.55, 1.0), 5)
    elif kind == "vignette":
        page *= 1 - 0.25 * (down**2 + right**2)
    else:
        page = np.pad(page, ((70, 120), (110, 90)), constant_values=60)
    noise = np.random.default_rng(digit).normal(0, 4, page.shape)
    return np.clip(page + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["hard shadow", "vignette", "table"])
@pytest.mark.parametrize("digit", range(10))
def test_patchy_light(kind: str, digit: int) -> None:
    """The edge of a shadow or of the paper is no ink: the digit is found beside it, across it and within it."""
    smooth = ndimage.gaussian_filter(mnist_form.to_field(lit(kind, digit), 28, 28), 1).ravel()
    assert np.corrcoef(smooth, ndimage.gaussian_filter(template(digit), 1).ravel())[0, 1] > 0.7


def test_half_in_shadow_is_no_digit() -> None:
    """A page with a shadow over a half and nothing on it shows nothing."""
    empty = np.full((300, 300), 220.0)
    empty[:, :140] *= 0.5
    with pytest.raises(DataError, match="shows nothing"):
        mnist_form.to_field(empty.astype(np.uint8), 28, 28)


@pytest.mark.parametrize("size", [(28, 28), (40, 32), (56, 56), (8, 8)])
@pytest.mark.parametrize("digit", [1, 4, 8])
def test_box_and_mass(size: tuple[int, int], digit: int) -> None:
    """The longer side takes 20/28 of the field; SciPy finds the centre of mass within half a pixel of the middle."""
    field = mnist_form.to_field(255 - grey(draw(digit, 150, place=(30, -25))), *size)
    assert field.shape == size
    assert field.dtype == np.float32
    assert (field.min(), field.max()) == (0, 255)
    box = ndimage.find_objects((field > 0).astype(int))[0]
    assert max(part.stop - part.start for part in box) == round(20 / 28 * min(size))
    away = np.array(ndimage.center_of_mass(field)) - np.array(size) / 2
    assert np.abs(away).max() <= 0.5 + 1e-6


def test_form_is_kept() -> None:
    """What has the form already stays as it is, so that centring twice is centring once."""
    once = mnist_form.to_field(grey(scan(5, 3)), 28, 28).round().astype(np.uint8)
    assert mnist_form.has_form(once)
    assert np.array_equal(mnist_form.to_field(once, 28, 28), once)
    assert not mnist_form.has_form(255 - once)
    assert not mnist_form.has_form(np.roll(once, 4, axis=1))
    assert not mnist_form.has_form(np.zeros((28, 28), np.uint8))


def test_thin_strokes_are_widened() -> None:
    """A line of one pixel on a large page does not vanish when it is scaled down."""
    page = np.full((400, 300), 250, np.uint8)
    page[50:350, 150] = 10
    field = mnist_form.to_field(page, 28, 28)
    assert field.max() == 255
    assert 1.0 <= field.sum() / 255 / 20 <= 3.5  # mean width of the stroke, in pixels


@pytest.mark.parametrize(
    "page",
    [
        np.zeros((28, 28), np.uint8),
        np.full((300, 200), 255, np.uint8),
        np.random.default_rng(1).normal(128, 6, (200, 200)).astype(np.uint8),
        np.linspace(40, 220, 200 * 100).reshape(200, 100).astype(np.uint8),
        np.full((1, 1), 9, np.uint8),
        np.full((1, 500), 9, np.uint8),
    ],
    ids=["black", "white", "noise", "shadow", "pixel", "line"],
)
def test_nothing_to_see(page: NDArray[np.uint8]) -> None:
    """Blank paper, noise and a shadow are refused, not read as a digit."""
    with pytest.raises(DataError, match="shows nothing"):
        mnist_form.to_field(page, 28, 28)


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.floats(0, 1))
def test_any_image(seed: int, height: int, width: int, share: float) -> None:
    """Whatever the pixels are: a field in 0..255 of the size asked for, or the sentence."""
    random = np.random.default_rng(seed)
    image = np.where(random.random((height, width)) < share, random.integers(0, 256, (height, width)), 0)
    try:
        field = mnist_form.to_field(image.astype(np.uint8), 28, 28)
    except DataError as error:
        assert str(error).startswith(("shows nothing", "shows no digit"))
    else:
        assert field.shape == (28, 28)
        assert np.isfinite(field).all()
        assert 0 <= field.min() < field.max() <= 255


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.floats(0.1, 0.9))
def test_pieces_are_scipys(seed: int, height: int, width: int, share: float) -> None:
    """The connected pieces are those that SciPy finds."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    if not mask.any():
        return
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.isin(labels, 1 + np.flatnonzero(sizes >= mnist_form.SPECK * sizes.max()))
    assert count >= 1
    assert np.array_equal(mnist_form.largest_pieces(mask), kept)


@pytest.mark.mnist
@pytest.mark.skipif(not os.environ.get("INKFLOW_MIRROR"), reason="needs mnist.npz in the folder INKFLOW_MIRROR")
def test_mnist_has_the_form() -> None:
    """Real MNIST has the form that is claimed of it: all but a few images in ten thousand are left as they are."""
    with np.load(Path(os.environ["INKFLOW_MIRROR"], "mnist.npz")) as arrays:
        images = arrays["x_test"]
    assert np.mean([mnist_form.has_form(image) for image in images]) > 0.999
