"""Pictures of more than one digit are refused with the number found; a digit on a note on a table is found."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from stages.base.errors import DataError
from stages.predict.components import count_inks, find_paper
from stages.predict.mnist_form import to_mnist_form
from tests.support.pictures import draw, template


def row(digits: str, gap: float = 0.4, vertical: bool = False, side: int = 100) -> NDArray[np.uint8]:
    """Returns `digits`, dark on light, in a row or a column, apart by `gap` of their height."""
    inks = []
    for digit in digits:
        ink = np.asarray(draw(int(digit), side)) > 127
        rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
        inks.append(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    length = sum(ink.shape[0 if vertical else 1] + int(gap * side) for ink in inks) + side
    breadth = max(ink.shape[1 if vertical else 0] for ink in inks) + side
    page, at = np.zeros((length, breadth) if vertical else (breadth, length), bool), side // 2
    for ink in inks:
        down, right = (at, side // 2) if vertical else (side // 2, at)
        page[down : down + ink.shape[0], right : right + ink.shape[1]] = ink
        at += ink.shape[0 if vertical else 1] + int(gap * side)
    return np.where(page, 20, 240).astype(np.uint8)


@pytest.mark.parametrize("digits", ["42", "2024", "0123456789", "11", "1" * 14])
@pytest.mark.parametrize("side", [40, 200])
def test_digits_in_a_row_are_counted(digits: str, side: int) -> None:
    """Several digits side by side are refused, and the message has their number."""
    with pytest.raises(DataError, match=f"shows {len(digits)} separate inks, expected one digit"):
        to_mnist_form(row(digits, side=side), 28, 28)


def test_digits_in_a_column_are_counted() -> None:
    """Two digits above each other are refused."""
    with pytest.raises(DataError, match="shows 2 separate inks"):
        to_mnist_form(row("38", vertical=True), 28, 28)


def test_face_is_refused() -> None:
    """A circle with two dots and a curve has four pieces: no digit has as many."""
    face = Image.new("L", (300, 300), 255)
    pen = ImageDraw.Draw(face)
    pen.ellipse((60, 60, 240, 240), outline=0, width=9)
    pen.arc((105, 105, 195, 200), 20, 160, fill=0, width=9)
    pen.ellipse((110, 108, 132, 130), fill=0)
    pen.ellipse((168, 108, 190, 130), fill=0)
    with pytest.raises(DataError, match="shows 4 separate inks"):
        to_mnist_form(np.asarray(face), 28, 28)


def test_broken_digit_is_one() -> None:
    """A 5 whose upper stroke is apart a little is one digit, and so is a digit with a speck of dirt."""
    broken = np.zeros((200, 200), bool)
    broken[40:52, 70:130] = broken[60:160, 70:82] = True
    assert count_inks(broken) == 1
    broken[180:184, 10:14] = True
    assert count_inks(broken) == 1


def note(digit: int, angle: float, table: int, border: int = 150) -> NDArray[np.uint8]:
    """Returns a white note with a thin digit, rotated by `angle`, on a table of this brightness."""
    page = 240 - 220 * (np.asarray(draw(digit, 120), np.float64) / 255)
    page = np.pad(page, border, constant_values=table)
    return np.asarray(Image.fromarray(page.astype(np.uint8)).rotate(angle, Image.Resampling.BICUBIC, fillcolor=table))


@pytest.mark.parametrize("angle", [0, 5, -9])
@pytest.mark.parametrize("table", [20, 60, 110])
@pytest.mark.parametrize("digit", range(10))
def test_note_on_a_table(digit: int, table: int, angle: float) -> None:
    """The digit on a note is read, not the note's corners, on a darker table and with the note rotated a little."""
    smooth = ndimage.gaussian_filter(to_mnist_form(note(digit, angle, table), 28, 28), 1.5).ravel()
    others = [np.corrcoef(smooth, ndimage.gaussian_filter(template(other), 1.5).ravel())[0, 1] for other in range(10)]
    assert others[digit] > 0.7
    assert angle or int(np.argmax(others)) == digit


def test_note_with_two_digits_is_refused() -> None:
    """Two digits on a note are counted on the note."""
    page = np.pad(row("42"), 200, constant_values=50)
    with pytest.raises(DataError, match="shows 2 separate inks"):
        to_mnist_form(page, 28, 28)


@pytest.mark.parametrize("digit", [0, 6, 8, 9])
def test_round_digits_are_no_paper(digit: int) -> None:
    """The ring of a digit, thick or thin, is not taken for a paper."""
    ink = np.asarray(draw(digit, 180)) > 127
    for width in (0, 6):
        assert find_paper(ndimage.binary_dilation(ink, iterations=width) if width else ink) is None


@pytest.mark.mnist
@pytest.mark.skipif(not os.environ.get("INKFLOW_MIRROR"), reason="needs mnist.npz in the folder INKFLOW_MIRROR")
@pytest.mark.farm
def test_single_digits_are_still_answered() -> None:
    """Of 300 handwritten digits, enlarged and put on paper, at most 1 % are refused."""
    with np.load(Path(os.environ["INKFLOW_MIRROR"], "mnist.npz")) as arrays:
        images = arrays["x_train"][::200]
    refused = 0
    for number, image in enumerate(images):
        side = 28 * (4 + number % 6)
        large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), np.float64) / 255
        try:
            to_mnist_form((235 - 190 * np.pad(large, number % 40)).astype(np.uint8), 28, 28)
        except DataError:
            refused += 1
    assert refused <= 3
