"""A photograph or scan of a digit in the form that MNIST's images have.

MNIST's page (Yann LeCun, Corinna Cortes, Christopher Burges: "The MNIST database of handwritten digits",
yann.lecun.com/exdb/mnist) says how: the black and white originals were scaled to fit a box of 20 x 20 pixels, their
proportions kept, which made them grey by anti-aliasing; then they were moved so that the centre of mass of the pixels
lies at the centre of the field of 28 x 28. In the images themselves that centre is (14, 14), counted from 0, and the
moves are whole pixels. Ink is light, paper is 0. For another size of field the box keeps its share, 20/28.

    grey → paper made even and ink made light → noise and specks taken away → trimmed → thin strokes made wider
    → scaled to the box → moved to the centre
"""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stages.base.errors import DataError

BOX = 20 / 28  # share of the field's shorter side that the digit takes
WORK = 256  # pixels of the longer side while looking for the ink
PATCHES = 96  # the same, where the light is patchy: a running median takes its time
ON_PLANE = 0.8  # share of the border that even light must explain
LEAST_CONTRAST = 24  # of 255 between paper and ink
NOISE = 5  # times the paper's spread that ink must stand out
SPECK = 0.05  # share of the largest piece of ink below which another piece is dirt
STROKE = 2.0  # pixels in the box: MNIST's strokes are 2 to 3 wide
WIDEST = 0.21  # of the longer side: what is wider is first taken for the paper on a table
WIDEST_UNSURE = 0.17  # the same where the light is not even: it may be a shadow
UNCLEAR = "shows no digit that stands apart from the border: photograph it in even light, with a margin of paper"
RINGS = 16  # the border that is taken for paper is a side's 16th part


def to_field(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """The digit in `image` (h, w) as MNIST would show it: float32 (height, width) in 0..255.

    An image that has this form already is given back as it is.

    Raises:
        DataError: nothing stands out from the paper.
    """
    if image.shape == (height, width) and has_form(image):
        return image.astype(np.float32)
    ink = _ink_in(image)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    trimmed = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = max(1, round(BOX * min(height, width)))
    return centred(fit_box(trimmed, box), height, width)


def has_form(image: NDArray[np.uint8]) -> bool:
    """Whether `image` (h, w) looks as MNIST's do: on 0, its longer side the box's, its mass in the centre."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    if not rows.size or int(image.max()) < 128:
        return False
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    away = centre_of_mass(image) - np.array(image.shape) / 2
    return bool(abs(longer - BOX * min(image.shape)) <= 1 and np.abs(away).max() <= 1)


def centre_of_mass(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """Row and column of the mean place of the brightness, counted from 0 (float64 (2,))."""
    values = image.astype(np.float64)
    places = [values.sum(axis=1 - axis) @ np.arange(values.shape[axis]) for axis in (0, 1)]
    centre: NDArray[np.float64] = np.array(places) / values.sum()
    return centre


def _ink_in(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ink in 0..1 of a smaller `image`: as in even light, or where that shows nothing, as in patches of light.

    Raises:
        DataError: nothing stands out from the paper either way.
    """
    values = _reduced(image, WORK)
    light, sure = even_light(values)
    wide = None
    with suppress(DataError):
        ink = find_ink(values, light)
        if stroke_width(ink) <= (WIDEST if sure else WIDEST_UNSURE):
            return ink
        wide = ink if sure else None
    small = _reduced(image, PATCHES)
    try:
        return _apart_from_border(find_ink(small, light_in_patches(small)))
    except DataError:
        if wide is None:
            raise
        return wide


def _apart_from_border(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    if np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]).any():
        raise DataError(UNCLEAR)
    return ink


def find_ink(grey: NDArray[np.float32], paper: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ink in 0..1, else 0, of the same shape as `grey` and `paper` (h, w) in 0..255, whichever of both is darker.

    Raises:
        DataError: nothing stands out from the paper.
    """
    apart = grey - paper
    ink = apart * _sign(apart)
    strength = _at(ink, 0.0005)  # a thin stroke on a large page is few pixels
    spread = 1.4826 * _median(np.abs(apart))  # of normal noise, whatever the ink does
    if strength < max(LEAST_CONTRAST, NOISE * spread):
        raise DataError("shows nothing: no digit stands out from its background")
    threshold = otsu(ink)
    kept = largest_pieces(ink > threshold)
    full = _median(ink[kept])
    # The edge of a stroke is grey, and lies just outside of what is above the threshold.
    near = np.asarray(Image.fromarray(kept).convert("L").filter(ImageFilter.MaxFilter(3))) > 0
    soft: NDArray[np.float32] = np.clip((ink - threshold / 2) / (full - threshold / 2), 0, 1) * near
    return soft.astype(np.float32)


def light_in_patches(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of the paper at each pixel (h, w) by a running median, which keeps edges: of shadows, of the paper.

    What is wider than half its window, a third of the longer side, is taken for paper.
    """
    window = max(grey.shape) // 6 * 2 + 1
    median = Image.fromarray(grey.round().astype(np.uint8)).filter(ImageFilter.MedianFilter(window))
    return np.asarray(median, np.float32)


def even_light(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], bool]:
    """Brightness of the paper at each pixel (h, w): a plane through the border, as light falls off over a photograph.

    Fitted by least squares, twice more without what lies far off it: ink that runs over the border, a shadow's edge.
    Whether most of the border lies on the plane comes second.
    """
    height, width = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y], axis=-1)
    ring = np.ones(grey.shape, bool)
    deep, wide = max(1, height // RINGS), max(1, width // RINGS)
    ring[deep:-deep, wide:-wide] = False
    samples, values = terms[ring], grey[ring]
    used = np.abs(values - _median(values)) <= max(16.0, 3 * _spread(values))
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(samples[used], values[used], rcond=None)
        off = np.abs(values - samples @ plane)
        used = off <= max(8.0, 3 * _median(off))
    fitted: NDArray[np.float32] = (terms @ plane).astype(np.float32)
    return fitted, bool(used.mean() > ON_PLANE)


def otsu(values: NDArray[np.float32]) -> float:
    """Threshold between the two groups of `values` above 0 that lie farthest apart (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128, range=(0.0, float(values.max())))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middle)
    apart = sums / np.maximum(below, 1) - (sums[-1] - sums) / np.maximum(above, 1)
    return float(edges[1:][np.argmax(below * above * apart**2)])


def largest_pieces(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`mask` (h, w) without its small connected pieces: dust, and the grain of the paper."""
    labels = _pieces(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: NDArray[np.bool_] = (sizes >= SPECK * sizes.max())[labels] & mask
    return kept


def stroke_width(ink: NDArray[np.float32]) -> float:
    """Mean width of the strokes of `ink` (h, w) in 0..1, as a share of its longer side."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    return 2 * float(ink.sum()) / max(_outline(ink > 0.5), 1) / int(longer)


def fit_box(ink: NDArray[np.float32], box: int) -> NDArray[np.float32]:
    """`ink` (h, w) in 0..1, its longer side `box` pixels, proportions kept, strokes wide enough: 0..255."""
    factor, stroke = box / max(ink.shape), stroke_width(ink) * box
    picture = Image.fromarray((ink * 255).round().astype(np.uint8))
    wider = round((STROKE - stroke) / factor / 2)
    if stroke < STROKE and wider >= 1:
        edge = 2 * wider
        roomy = Image.new("L", (picture.width + edge, picture.height + edge))
        roomy.paste(picture, (wider, wider))
        picture = roomy.filter(ImageFilter.MaxFilter(2 * min(wider, 20) + 1))
        factor = box / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    values = np.asarray(picture.resize((width, height), method), np.float32)
    return values * np.float32(255 / max(float(values.max()), 1.0))


def centred(digit: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """`digit` in a field of 0, moved by whole pixels so that its centre of mass is nearest to the field's centre."""
    field = np.zeros((height, width), np.float32)
    moves = np.round(np.array([height, width]) / 2 - centre_of_mass(digit)).astype(int)
    top, left = np.clip(moves, 0, np.array(field.shape) - digit.shape)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field


def _reduced(image: NDArray[np.uint8], most: int) -> NDArray[np.float32]:
    """`image` with at most so many pixels a side, its grain smoothed."""
    longer = max(image.shape)
    picture = Image.fromarray(image)
    if longer > most:
        size = [max(1, round(side * most / longer)) for side in (picture.width, picture.height)]
        picture = picture.resize((size[0], size[1]), Image.Resampling.BOX)
    if longer > WORK // 4:  # strokes of a smaller picture may be one pixel wide
        picture = picture.filter(ImageFilter.GaussianBlur(0.8))  # a median would take thin strokes away
    return np.asarray(picture, np.float32)


def _sign(apart: NDArray[np.float32]) -> float:
    """1 if what stands out from the paper is lighter than it, else -1."""
    return 1.0 if _at(apart, 0.0005) > -_at(apart, 0.9995) else -1.0


def _at(values: NDArray[np.float32], share: float) -> float:
    """The value above which a `share` of the `values` lies."""
    # np.percentile and np.median would import numpy.ma first, a fifth of a second.
    last = values.size - 1
    place = last - round(share * last)
    return float(np.partition(values, place, axis=None)[place])


def _median(values: NDArray[np.float32]) -> float:
    return _at(values, 0.5)


def _spread(values: NDArray[np.float32]) -> float:
    return 1.4826 * _median(np.abs(values - _median(values)))


def _outline(mask: NDArray[np.bool_]) -> int:
    """Length of the border between True and False, in pixels; a straight slanted one counts as both its sides."""
    roomy = np.pad(mask, 1).astype(np.int8)
    return int(np.abs(np.diff(roomy, axis=0)).sum() + np.abs(np.diff(roomy, axis=1)).sum())


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the connected piece (neighbours by side or corner) of each pixel (h, w); 0 outside of `mask`."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = (places.tolist() for places in np.nonzero(steps == 1))
    ends = np.nonzero(steps == -1)[1].tolist()
    parents = list(range(len(rows)))
    first = 0  # of the runs that may touch the one at hand: those of the row above end at it or later
    for run, row in enumerate(rows):
        while rows[first] < row - 1 or (rows[first] == row - 1 and ends[first] < starts[run]):
            first += 1
        other = first
        while rows[other] == row - 1 and starts[other] <= ends[run]:
            parents[_root(parents, other)] = _root(parents, run)
            other += 1
    labels = np.zeros(mask.shape, np.int64)
    for run, row in enumerate(rows):
        labels[row, starts[run] : ends[run]] = _root(parents, run) + 1
    return labels


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = run = parents[parents[run]]
    return run
