"""Pictures that show no digit, and digits drawn in the same way: letters, signs, photographs, two digits, noise, paper.

The classes of each kind have two halves. The measure of doubt was chosen with the half `tuning`; the half `final` was
looked at once, when all was chosen.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Picture = NDArray[np.uint8]  # (h, w), 0 is black
SIDE = 160  # pixels of a drawn picture
LOOK_ALIKES = "OoDQIiljJZzYySsbGBgq"  # letters that some hand writes as it writes a digit
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SIGNS = "+\u00d7%&@#$?*<>[]{}~^♥★☺→↓∞√∑∂Ω§€£©π"
FONTS = {  # of matplotlib, for letters and digits
    "tuning": ("DejaVuSans", "DejaVuSerif-Italic", "cmss10"),
    "final": ("STIXGeneral", "STIXGeneralItalic", "cmtt10"),
}
PHOTOGRAPHS = {"tuning": ("china.jpg",), "final": ("flower.jpg", "grace_hopper.jpg")}


def letters(half: str, look_alike: bool) -> str:
    """Returns the letters of a half: every other one, with or without a look-alike among the digits."""
    found = [letter for letter in LETTERS if (letter in LOOK_ALIKES) == look_alike]
    return "".join(found[0 if half == "tuning" else 1 :: 2])


def signs(half: str) -> str:
    """Returns the signs of a half."""
    return SIGNS[0 if half == "tuning" else 1 :: 2]


def drawn(text: str, fonts: Sequence[Path], times: int, random: np.random.Generator) -> Iterator[Picture]:
    """Yields each character in each font, `times` times as if by different hands."""
    for letter in text:
        for font in fonts:
            for _ in range(times):
                page = Image.new("L", (SIDE, SIDE))
                face = ImageFont.truetype(str(font), 90)
                ImageDraw.Draw(page).text((SIDE / 2, SIDE / 2), letter, fill=255, font=face, anchor="mm")
                yield on_paper(by_hand(np.asarray(page) / 255, random))


def by_hand(ink: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Returns `ink` (h, w) rotated, slanted, stretched, bent (Simard and others, 2003), and with another pen."""
    angle, slant, stretch = (
        np.deg2rad(random.uniform(-12, 12)),
        random.uniform(-0.25, 0.25),
        random.uniform(0.8, 1.2, 2),
    )
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1 / stretch[1], 0], [slant, 1 / stretch[0]]])
    centre = np.full((2, 1, 1), SIDE / 2)
    strength = 14 * np.sqrt(4 * np.pi)  # the filter makes noise of deviation 1 weaker by it
    bends = [random.uniform(0, 3) * ndimage.gaussian_filter(random.normal(size=ink.shape), 14) for _ in range(2)]
    where = np.einsum("ij,jhw->ihw", matrix, np.indices(ink.shape) - centre) + centre + np.stack(bends) * strength
    ink = ndimage.map_coordinates(ink, where, order=1)
    radius = int(random.integers(-1, 4))
    if radius <= 0:
        return ink
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    thick: NDArray[np.float64] = ndimage.grey_dilation(ink, footprint=np.hypot(rows, columns) <= radius + 0.3)
    return thick


def on_paper(ink: NDArray[Any]) -> Picture:
    """Returns dark `ink` of 0..1 on light paper."""
    picture: Picture = np.clip(235 - 200 * ink, 0, 255).astype(np.uint8)
    return picture


def crops_of_photographs(half: str, count: int, random: np.random.Generator) -> Iterator[Picture]:
    """Yields crops of scikit-learn's and matplotlib's photographs, from 28 to 300 pixels a side."""
    photographs = [np.asarray(Image.open(path).convert("L")) for path in map(_photograph, PHOTOGRAPHS[half])]
    for number in range(count):
        grey = photographs[number % len(photographs)]
        side = int(random.integers(28, 300))
        row, column = (int(random.integers(0, extent - side)) for extent in grey.shape)
        yield grey[row : row + side, column : column + side]


def _photograph(name: str) -> Path:
    import matplotlib.cbook  # slow
    import sklearn.datasets

    own = Path(sklearn.datasets.__file__).parent / "images" / name
    return own if own.is_file() else Path(str(matplotlib.cbook.get_sample_data(name, asfileobj=False)))


def in_model_size(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Yields `pictures` as arrays of the model's size, which are taken as they are."""
    for picture in pictures:
        yield np.asarray(Image.fromarray(picture).resize((28, 28)))


def touching_digits(images: Picture, count: int, random: np.random.Generator) -> Iterator[Picture]:
    """Yields two images of MNIST (n, 28, 28) side by side, so near that they often are one ink."""
    for one, other in random.integers(0, len(images), (count, 2)):
        shift = 4 + int(random.integers(14, 20))
        page = np.zeros((60, 70), np.uint8)
        page[16:44, 4:32] = images[one]
        page[16:44, shift : shift + 28] = np.maximum(page[16:44, shift : shift + 28], images[other])
        yield 255 - np.kron(page, np.ones((3, 3), np.uint8))


def noise(half: str, count: int, random: np.random.Generator) -> Iterator[Picture]:
    """Yields arrays of the model's size: even, normal, sparse noise; for `final` clouds, stripes, blobs."""
    for number in range(count):
        values = random.random((28, 28))
        if half == "tuning":
            normal = 30 + 20 * random.normal(size=(28, 28))
            picture = (255 * values, normal, 255.0 * (values < 0.2))[number % 3]
        else:
            clouds = 128 + 600 * ndimage.gaussian_filter(values - 0.5, 2)
            angle, width = random.uniform(0, np.pi), random.uniform(0.4, 2)
            rows, columns = np.indices((28, 28))
            stripes = 128 + 127 * np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * width)
            blobs = 2000 * ndimage.gaussian_filter((values < 0.03).astype(float), 1)
            picture = (clouds, stripes, blobs)[number % 3]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def blank_paper(count: int, random: np.random.Generator) -> Iterator[Picture]:
    """Yields photographs of paper without ink: uneven light and grain."""
    rows, columns = np.indices((SIDE, SIDE)) / SIDE
    for _ in range(count):
        light = random.uniform(150, 245) * (1 - random.uniform(0, 0.4) * rows - random.uniform(0, 0.2) * columns)
        yield np.clip(light + random.normal(0, random.uniform(0, 6), (SIDE, SIDE)), 0, 255).astype(np.uint8)
