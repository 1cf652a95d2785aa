"""The conversion of digits to the form of MNIST, compared with SciPy and with MNIST itself."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stages.base.errors import DataError
from stages.predict import components, mnist_form
from stages.samples.picture_form import has_mnist_form
from tests.support.pictures import draw, scan, template


def grey(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the grey pixels (h, w)."""
    return np.asarray(image.convert("L"))


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("dark_on_light", [True, False])
def test_scan_becomes_the_template(digit: int, dark_on_light: bool) -> None:
    """A scan, dark on light or light on dark, becomes like the template that SciPy makes of the clean drawing."""
    field = mnist_form.to_mnist_form(grey(scan(digit, digit, dark_on_light=dark_on_light)), 28, 28)
    smooth = ndimage.gaussian_filter(field, 1).ravel()  # so that strokes a pixel apart still correlate
    others = [ndimage.gaussian_filter(template(other), 1).ravel() for other in range(10)]
    correlations = [float(np.corrcoef(smooth, other)[0, 1]) for other in others]
    assert int(np.argmax(correlations)) == digit
    assert correlations[digit] > 0.8


def lit(kind: str, digit: int) -> NDArray[np.uint8]:
    """Returns the grey pixels of a dark digit on paper in uneven light, or with a table around the paper."""
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
def test_uneven_light(kind: str, digit: int) -> None:
    """The digit is found, although the edge of a shadow or of the paper lies beside it, across it or around it."""
    smooth = ndimage.gaussian_filter(mnist_form.to_mnist_form(lit(kind, digit), 28, 28), 1).ravel()
    assert np.corrcoef(smooth, ndimage.gaussian_filter(template(digit), 1).ravel())[0, 1] > 0.7


def test_shadow_is_no_digit() -> None:
    """An empty page with a shadow over one half is rejected."""
    empty = np.full((300, 300), 220.0)
    empty[:, :140] *= 0.5
    with pytest.raises(DataError, match="shows nothing"):
        mnist_form.to_mnist_form(empty.astype(np.uint8), 28, 28)


@pytest.mark.parametrize("size", [(28, 28), (40, 32), (56, 56), (8, 8)])
@pytest.mark.parametrize("digit", [1, 4, 8])
def test_box_and_mass(size: tuple[int, int], digit: int) -> None:
    """The digit's longer side is 20/28 of the field; by SciPy, its mass is within half a pixel of the centre."""
    field = mnist_form.to_mnist_form(255 - grey(draw(digit, 150, offset=(30, -25))), *size)
    assert field.shape == size
    assert field.dtype == np.float32
    assert (field.min(), field.max()) == (0, 255)
    box = ndimage.find_objects((field > 0).astype(int))[0]
    assert max(part.stop - part.start for part in box) == round(20 / 28 * min(size))
    offset = np.array(ndimage.center_of_mass(field)) - np.array(size) / 2
    assert np.abs(offset).max() <= 0.5 + 1e-6


def test_form_is_kept() -> None:
    """An image that has the form keeps its pixels, so a second conversion changes nothing."""
    once = mnist_form.to_mnist_form(grey(scan(5, 3)), 28, 28).round().astype(np.uint8)
    assert has_mnist_form(once)
    assert np.array_equal(mnist_form.to_mnist_form(once, 28, 28), once)
    assert not has_mnist_form(255 - once)
    assert not has_mnist_form(np.roll(once, 4, axis=1))
    assert not has_mnist_form(np.zeros((28, 28), np.uint8))


def test_thin_strokes_are_widened() -> None:
    """A line one pixel wide on a large page stays visible after scaling."""
    page = np.full((400, 300), 250, np.uint8)
    page[50:350, 150] = 10
    field = mnist_form.to_mnist_form(page, 28, 28)
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
    """Blank paper, noise and a shadow are rejected."""
    with pytest.raises(DataError, match="shows nothing"):
        mnist_form.to_mnist_form(page, 28, 28)


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.floats(0, 1))
def test_any_image(seed: int, height: int, width: int, share: float) -> None:
    """Any pixels give a field of the requested size in 0..255, or a DataError."""
    random = np.random.default_rng(seed)
    image = np.where(random.random((height, width)) < share, random.integers(0, 256, (height, width)), 0)
    try:
        field = mnist_form.to_mnist_form(image.astype(np.uint8), 28, 28)
    except DataError as error:
        assert re.match(r"shows (nothing|no digit|\d+ separate inks)", str(error))
    else:
        assert field.shape == (28, 28)
        assert np.isfinite(field).all()
        assert 0 <= field.min() < field.max() <= 255


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.floats(0.1, 0.9))
def test_components_are_scipys(seed: int, height: int, width: int, share: float) -> None:
    """The connected components are the same as SciPy's."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    if not mask.any():
        return
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    expected = np.isin(labels, 1 + np.flatnonzero(sizes >= components.MIN_COMPONENT_SHARE * sizes.max()))
    assert count >= 1
    assert np.array_equal(components.largest_components(mask), expected)


@pytest.mark.mnist
@pytest.mark.skipif(not os.environ.get("INKFLOW_MIRROR"), reason="needs mnist.npz in the folder INKFLOW_MIRROR")
def test_mnist_has_the_form() -> None:
    """More than 99.9 % of MNIST's test images have the form, and so keep their pixels."""
    with np.load(Path(os.environ["INKFLOW_MIRROR"], "mnist.npz")) as arrays:
        images = arrays["x_test"]
    assert np.mean([has_mnist_form(image) for image in images]) > 0.999
