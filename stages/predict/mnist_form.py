"""Converts a photograph or scan of a digit to the form of MNIST's images.

MNIST's page (Yann LeCun, Corinna Cortes, Christopher Burges: "The MNIST database of handwritten digits",
yann.lecun.com/exdb/mnist) describes the form: the black and white originals were scaled to fit a box of 20 x 20 pixels
with their proportions kept, which made them grey by anti-aliasing. Then they were moved so that the centre of mass of
the pixels lies at the centre of the field of 28 x 28 pixels. In the images themselves that centre is (14, 14), counted
from 0, and the moves are whole pixels. Ink is light, paper is 0. In a field of another size, the box keeps its share,
20/28.

    grey → subtract the paper, make ink light → remove noise and specks → trim → widen thin strokes
    → scale to the box → move to the centre
"""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stages.base.errors import DataError
from stages.predict.components import count_inks, find_paper, largest_components
from stages.samples.picture_form import BORDER_DIVISOR, BOX_SHARE, centre_of_mass, has_mnist_form

SEARCH_SIDE = 256  # pixels of the longer side of the reduced image in which the ink is searched
MEDIAN_SIDE = 96  # the same in uneven light, where a running median is slow
MIN_PLANE_SHARE = 0.8  # of the border that the plane of even light has to explain
MIN_CONTRAST = 24  # of 255, between paper and ink
NOISE_FACTOR = 5  # ink differs from the paper by at least so many standard deviations of the paper
MIN_STROKE = 2.0  # pixels in the box: MNIST's strokes are 2 to 3 wide
MAX_STROKE_SHARE = 0.21  # of the longer side: wider ink may be the paper on a table
MAX_STROKE_SHARE_UNEVEN = 0.17  # the same in uneven light: it may be a shadow
MIN_INK = 0.25  # of a pixel's ink, to belong to a stroke
MAX_PAPERS = 2  # a note on a sheet on a table
PAPER_EDGE = 7  # pixels of the reduced image: half of it is removed all around a paper
UNCLEAR = "shows no digit that stands apart from the border: photograph it in even light, with a margin of paper"


def to_mnist_form(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Returns the digit in `image` (h, w) in the form of MNIST: float32 (height, width) in 0..255.

    An image that already has the form and the size keeps its pixels.

    Raises:
        DataError: Nothing stands out from the paper, or more than one ink does.
    """
    if image.shape == (height, width) and has_mnist_form(image):
        return image.astype(np.float32)
    ink = _find_ink(image)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    trimmed = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = max(1, round(BOX_SHARE * min(height, width)))
    return centre_by_mass(scale_to_box(trimmed, box), height, width)


def _find_ink(image: NDArray[np.uint8], papers: int = MAX_PAPERS) -> NDArray[np.float32]:
    """Returns the ink in 0..1 of a reduced `image`; assumes even light first, then uneven light.

    If the ink is rather a paper on a table, the ink on the paper is searched, on at most `papers` papers.

    Raises:
        DataError: Nothing stands out from the paper under either assumption, or more than one ink does.
    """
    values = _reduced(image, SEARCH_SIDE)
    paper, is_even = plane_background(values)
    ink = fallback = None
    with suppress(DataError):
        ink = separate_ink(values, paper)
    if ink is not None:
        masks = (ink > MIN_INK, np.abs(values - paper) > MIN_CONTRAST)  # the second one reaches into shadows
        notes = (note for mask in masks if papers and (note := find_paper(mask)) is not None)
        if (note := next(notes, None)) is not None:
            return _find_ink(_on_paper(image, note), papers - 1)
        is_one = count_inks(ink > MIN_INK) == 1
        if (is_one or is_even) and stroke_width(ink) <= (MAX_STROKE_SHARE if is_even else MAX_STROKE_SHARE_UNEVEN):
            return _one_ink(ink)
        fallback = ink if is_even or not is_one else None  # in uneven light, parts may be the edges of shadows
    small = _reduced(image, MEDIAN_SIDE)
    try:
        ink = separate_ink(small, median_background(small))
        if np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]).any():
            raise DataError(UNCLEAR)
    except DataError:
        if fallback is None:
            raise
        return _one_ink(fallback)
    return _one_ink(ink)


def _one_ink(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns `ink` (h, w) in 0..1 if it is one.

    Raises:
        DataError: It consists of several parts that stand apart.
    """
    if (number := count_inks(ink > MIN_INK)) > 1:
        raise DataError(f"shows {number} separate inks, expected one digit: crop the picture to a single digit")
    return ink


def _on_paper(image: NDArray[np.uint8], paper: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Returns the part of `image` with the `paper` (h, w), found in a reduced image; all around it is as bright."""
    shrunk = Image.fromarray(paper).convert("L").filter(ImageFilter.MinFilter(PAPER_EDGE))
    inside = np.asarray(shrunk.resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST)) > 0
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    white = int(_median(image[inside].astype(np.float32)))
    return np.where(inside[box], image[box], white).astype(np.uint8)


def separate_ink(grey: NDArray[np.float32], paper: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the ink in 0..1, 0 elsewhere; ink is darker or lighter than the paper.

    Args:
        grey: The image, (h, w) in 0..255.
        paper: The brightness of the paper at each pixel, (h, w) in 0..255.

    Raises:
        DataError: Nothing stands out from the paper.
    """
    difference = grey - paper
    ink = difference * _polarity(difference)
    strength = _upper_quantile(ink, 0.0005)  # a thin stroke on a large page has few pixels
    deviation = 1.4826 * _median(np.abs(difference))  # standard deviation of normal noise, robust against ink
    if strength < max(MIN_CONTRAST, NOISE_FACTOR * deviation):
        raise DataError("shows nothing: no digit stands out from its background")
    threshold = otsu_threshold(ink)
    mask = largest_components(ink > threshold)
    full = _median(ink[mask])
    # The edge of a stroke is grey: its pixels lie just outside of the mask.
    near = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(3))) > 0
    soft: NDArray[np.float32] = np.clip((ink - threshold / 2) / (full - threshold / 2), 0, 1) * near
    return soft.astype(np.float32)


def median_background(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the brightness of the paper (h, w) by a running median, which keeps the edges of shadows and paper.

    Its window is a third of the longer side; it takes ink wider than half of the window for paper.
    """
    window = max(grey.shape) // 6 * 2 + 1
    median = Image.fromarray(grey.round().astype(np.uint8)).filter(ImageFilter.MedianFilter(window))
    return np.asarray(median, np.float32)


def plane_background(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], bool]:
    """Returns the brightness of the paper (h, w) as a plane, and whether most of the border lies on it.

    Light falls off over a photograph about linearly. The plane is fitted to the border by least squares, and twice more
    without outliers: ink that runs over the border, or the edge of a shadow.
    """
    height, width = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y], axis=-1)
    border = np.ones(grey.shape, bool)
    rows, columns = max(1, height // BORDER_DIVISOR), max(1, width // BORDER_DIVISOR)
    border[rows:-rows, columns:-columns] = False
    samples, values = terms[border], grey[border]
    inliers = np.abs(values - _median(values)) <= max(16.0, 3 * _robust_deviation(values))
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(samples[inliers], values[inliers], rcond=None)
        residuals = np.abs(values - samples @ plane)
        inliers = residuals <= max(8.0, 3 * _median(residuals))
    background: NDArray[np.float32] = (terms @ plane).astype(np.float32)
    return background, bool(inliers.mean() > MIN_PLANE_SHARE)


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """Returns the threshold between the two groups of positive `values` with the largest distance (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128, range=(0.0, float(values.max())))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    distances = sums / np.maximum(below, 1) - (sums[-1] - sums) / np.maximum(above, 1)
    return float(edges[1:][np.argmax(below * above * distances**2)])


def stroke_width(ink: NDArray[np.float32]) -> float:
    """Returns the mean stroke width of `ink` (h, w) in 0..1, as a share of its longer side."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    return 2 * float(ink.sum()) / max(_outline_length(ink > 0.5), 1) / int(longer)


def scale_to_box(ink: NDArray[np.float32], box: int) -> NDArray[np.float32]:
    """Returns `ink` (h, w) in 0..1 scaled to 0..255 and a longer side of `box` pixels, with thin strokes widened."""
    factor, stroke = box / max(ink.shape), stroke_width(ink) * box
    picture = Image.fromarray((ink * 255).round().astype(np.uint8))
    radius = round((MIN_STROKE - stroke) / factor / 2)
    if stroke < MIN_STROKE and radius >= 1:
        padded = Image.new("L", (picture.width + 2 * radius, picture.height + 2 * radius))
        padded.paste(picture, (radius, radius))
        picture = padded.filter(ImageFilter.MaxFilter(2 * min(radius, 20) + 1))
        factor = box / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    values = np.asarray(picture.resize((width, height), method), np.float32)
    scaled: NDArray[np.float32] = values * np.float32(255 / max(float(values.max()), 1.0))
    return scaled.clip(max=255)  # rounding can exceed 255


def centre_by_mass(digit: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Returns `digit` in a field of 0, moved by whole pixels so that its centre of mass is nearest to the centre."""
    field = np.zeros((height, width), np.float32)
    offset = np.round(np.array([height, width]) / 2 - centre_of_mass(digit)).astype(int)
    top, left = np.clip(offset, 0, np.array(field.shape) - digit.shape)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field


def _reduced(image: NDArray[np.uint8], max_side: int) -> NDArray[np.float32]:
    """Returns `image` with at most `max_side` pixels a side, its grain smoothed."""
    longer = max(image.shape)
    picture = Image.fromarray(image)
    if longer > max_side:
        width, height = (max(1, round(side * max_side / longer)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    if longer > SEARCH_SIDE // 4:  # strokes of a smaller picture can be one pixel wide
        picture = picture.filter(ImageFilter.GaussianBlur(0.8))  # a median filter would remove thin strokes
    return np.asarray(picture, np.float32)


def _polarity(difference: NDArray[np.float32]) -> float:
    """Returns 1 for ink that is lighter than the paper, -1 for darker ink."""
    return 1.0 if _upper_quantile(difference, 0.0005) > -_upper_quantile(difference, 0.9995) else -1.0


def _upper_quantile(values: NDArray[np.float32], share: float) -> float:
    """Returns the value above which a `share` of the `values` lies."""
    # np.percentile and np.median would import numpy.ma first, which takes a fifth of a second.
    last = values.size - 1
    index = last - round(share * last)
    return float(np.partition(values, index, axis=None)[index])


def _median(values: NDArray[np.float32]) -> float:
    return _upper_quantile(values, 0.5)


def _robust_deviation(values: NDArray[np.float32]) -> float:
    """Returns the standard deviation of normal values, estimated from the median absolute deviation."""
    return 1.4826 * _median(np.abs(values - _median(values)))


def _outline_length(mask: NDArray[np.bool_]) -> int:
    """Returns the length of the border between True and False in pixels; a slanted line counts as its steps."""
    padded = np.pad(mask, 1).astype(np.int8)
    return int(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum())
