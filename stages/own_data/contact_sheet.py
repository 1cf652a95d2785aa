"""A contact sheet: some training images of each class, as a PNG file or in the terminal."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.base.files import replacing
from stages.base.shown_text import one_line
from stages.data.datasets import Arrays
from stages.own_data.assemble import Found

A_CLASS = 12  # images in a row of the PNG
MAX_ROWS = 40
SIDE, GAP, MARGIN = 56, 6, 24  # pixels
INK, FAINT, PAPER = (32, 32, 32), (100, 100, 100), (236, 236, 232)
TERMINAL_SIDE, MAX_SHOWN = 14, 20  # pixels of an image in the terminal; classes there
HALF_BLOCK = "\N{UPPER HALF BLOCK}"


def class_rows(arrays: Arrays, count: int, each: int) -> list[NDArray[np.int64]]:
    """Returns, for each class, the indices of up to `each` training images, evenly spread over all of the class."""
    rows = []
    for label in range(count):
        found = np.flatnonzero(arrays.y_train == label)
        rows.append(found[np.linspace(0, len(found) - 1, min(each, len(found))).astype(np.int64)])
    return rows


def write_sheet(path: Path, title: str, found: Found) -> None:
    """Writes the contact sheet as a PNG file: a row for each class, with its name and its numbers of images.

    Raises:
        OutputError: it cannot be written.
    """
    names = class_labels(found)
    shown = min(found.classes, MAX_ROWS)
    fonts = ImageFont.load_default(17), ImageFont.load_default(13)
    texts = [(_short(names[i]), _count_text(found.arrays, i)) for i in range(shown)]
    left = MARGIN + 16 + int(max(max(fonts[0].getlength(a), fonts[1].getlength(b)) for a, b in texts))
    width, top = left + A_CLASS * (SIDE + GAP) - GAP + MARGIN, MARGIN + 52
    height = top + shown * (SIDE + GAP) + MARGIN - GAP + (20 if found.classes > shown else 0)
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 6), title, INK, ImageFont.load_default(22))
    draw.text((MARGIN, MARGIN + 24), f"{summary_line(found)}; below each name: training + test", FAINT, fonts[1])
    for number, indices in enumerate(class_rows(found.arrays, shown, A_CLASS)):
        y = top + number * (SIDE + GAP)
        draw.text((MARGIN, y + SIDE / 2 - 2), texts[number][0], INK, fonts[0], anchor="ls")
        draw.text((MARGIN, y + SIDE / 2 + 16), texts[number][1], FAINT, fonts[1], anchor="ls")
        for place, index in enumerate(indices):
            cell = _cell(_bytes(found, found.arrays.x_train[index]))
            page.paste(cell, (left + place * (SIDE + GAP), y))
    if found.classes > shown:
        draw.text((MARGIN, height - MARGIN - 8), f"and {found.classes - shown} more classes", FAINT, fonts[1])
    with replacing(path) as temporary:
        page.save(temporary, "PNG", optimize=True)


def terminal_sheet(found: Found, width: int) -> Iterator[str]:
    """Yields the lines of a contact sheet for a terminal of `width` columns: one image of each class, in colour."""
    a_line = max(1, (width + 2) // (TERMINAL_SIDE + 2))
    names = class_labels(found)
    rows = class_rows(found.arrays, min(found.classes, MAX_SHOWN), 1)
    filled = [(names[i], indices[0]) for i, indices in enumerate(rows) if len(indices)]
    for start in range(0, len(filled), a_line):
        some = filled[start : start + a_line]
        yield "  ".join(f"{_cut(name, TERMINAL_SIDE):<{TERMINAL_SIDE}}" for name, _ in some).rstrip()
        pictures = [_terminal_lines(_bytes(found, found.arrays.x_train[index])) for _, index in some]
        yield from ("  ".join(lines) for lines in zip(*pictures, strict=True))


def class_labels(found: Found) -> list[str]:
    """Returns the names of the classes as a terminal and a page may show them."""
    return [one_line(name) for name in found.class_names or map(str, range(found.classes))]


def summary_line(found: Found) -> str:
    """Returns numbers, size, colour, type and range of the images in one line."""
    arrays = found.arrays
    height, width, *channels = arrays.x_train.shape[1:]
    colour = "colour" if channels == [3] else "grey"
    low, high = found.pixels or (0.0, 255.0)
    return (
        f"{len(arrays.x_train):,} training and {len(arrays.x_test):,} test images, {height} x {width}, {colour}, "
        f"{arrays.x_train.dtype}, {low:g} to {high:g}, {found.classes} classes"
    )


def _bytes(found: Found, image: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns an image as bytes, black 0 and white 255."""
    low, high = found.pixels or (0.0, 255.0)
    scaled = (image.astype(np.float64) - low) * (255 / (high - low))
    pixels = np.clip(np.round(scaled), 0, 255).astype(np.uint8)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _cell(pixels: NDArray[np.uint8]) -> Image.Image:
    """Returns an image fitted into a cell of the sheet: small ones by whole factors, without blur."""
    image = Image.fromarray(pixels).convert("RGB")
    longer = max(image.size)
    if longer > SIDE:
        image.thumbnail((SIDE, SIDE))
    else:
        image = image.resize(
            (image.width * (SIDE // longer), image.height * (SIDE // longer)), Image.Resampling.NEAREST
        )
    cell = Image.new("RGB", (SIDE, SIDE), PAPER)
    cell.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return cell


def _terminal_lines(pixels: NDArray[np.uint8]) -> list[str]:
    """Returns the lines of an image: a half block shows two pixels, one above the other."""
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((TERMINAL_SIDE, TERMINAL_SIDE), Image.Resampling.BOX)
    field = Image.new("RGB", (TERMINAL_SIDE, TERMINAL_SIDE))
    field.paste(image, ((TERMINAL_SIDE - image.width) // 2, (TERMINAL_SIDE - image.height) // 2))
    values = np.asarray(field).tolist()
    return ["".join(map(_half_block, values[row], values[row + 1])) + "\x1b[0m" for row in range(0, TERMINAL_SIDE, 2)]


def _half_block(upper: Sequence[int], lower: Sequence[int]) -> str:
    over, under = (";".join(map(str, colour)) for colour in (upper, lower))
    return f"\x1b[38;2;{over}m\x1b[48;2;{under}m{HALF_BLOCK}"


def _count_text(arrays: Arrays, label: int) -> str:
    train, test = ((labels == label).sum() for labels in (arrays.y_train, arrays.y_test))
    return f"{train:,} + {test:,}"


def _short(name: str) -> str:
    return _cut(name, 24)


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
