"""Connected parts of a mask: dirt, a paper on a table, and the number of inks that stand apart."""

from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

MIN_COMPONENT_SHARE = 0.05  # of the largest component of ink: smaller components are dirt
MIN_INK_SHARE = 0.4  # of the longer side of the largest ink: smaller parts are dots, or pieces of a digit
MAX_GAP_SHARE = 0.2  # of that side: parts that are nearer are strokes of one digit
CELLS = 20  # along that side, in which gaps are measured
MAX_PIECES = 3  # of a broken digit, however near they are; of 8,572 MNIST digits one has 4
MIN_PAPER_SIDE = 24  # pixels of the reduced image
MIN_RECTANGLE_SHARE = 0.85  # of the smallest rectangle around a paper; a round digit fills 0.79 of it
MIN_PLAIN_SHARE = 0.8  # of a paper that is without ink; the ring of a bold 0 is less of what it encloses


def largest_components(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns `mask` (h, w) without small connected components: dust and the grain of the paper."""
    labels = label_components(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large: NDArray[np.bool_] = (sizes >= MIN_COMPONENT_SHARE * sizes.max())[labels] & mask
    return large


def count_inks(mask: NDArray[np.bool_]) -> int:
    """Returns the number of inks in `mask` (h, w), without dirt, that stand apart.

    Up to MAX_PIECES strokes that are apart only a little are one digit. Gaps are measured on a coarse grid, so that the
    time does not grow with the size of the ink.
    """
    boxes = _sides(label_components(mask))
    if len(boxes) > MAX_PIECES and (pieces := _count_pieces(mask)) > MAX_PIECES:
        return pieces
    longest = max((max(sides) for sides in boxes), default=0)
    cell = max(1, longest // CELLS)
    padding = [(0, -side % cell) for side in mask.shape]
    padded = np.pad(mask, padding)
    cells = padded.reshape(padded.shape[0] // cell, cell, padded.shape[1] // cell, cell).any(axis=(1, 3))
    reach = max(1, round(MAX_GAP_SHARE / 2 * longest / cell))
    wide = Image.fromarray(np.pad(cells, reach)).convert("L").filter(ImageFilter.MaxFilter(2 * reach + 1))
    groups = label_components(np.asarray(wide) > 0)[reach:-reach, reach:-reach] * cells
    return sum(max(sides) * cell >= MIN_INK_SHARE * longest for sides in _sides(groups))


def find_paper(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Returns the paper (h, w) with what is on it, if the largest component of `mask` is one."""
    labels = label_components(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    component = labels == sizes.argmax()
    outside = label_components(np.pad(~component, 1, constant_values=True))
    filled = (outside != outside[0, 0])[1:-1, 1:-1]
    area, plain = int(filled.sum()), int(component.sum())
    shorter, rectangle = _smallest_rectangle(filled)
    is_paper = (
        shorter >= MIN_PAPER_SIDE
        and area >= MIN_RECTANGLE_SHARE * rectangle
        and MIN_PLAIN_SHARE * area <= plain < area  # something is on it
    )
    return filled if is_paper else None


def _smallest_rectangle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the shorter side and the area of the smallest rectangle around `mask`, at any angle."""
    rows = np.flatnonzero(mask.any(axis=1))
    first, last = mask[rows].argmax(axis=1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    y, x = np.concatenate([rows, rows]), np.concatenate([first, last])
    best = (0.0, float("inf"))
    for angle in map(radians, range(0, 90, 3)):
        sides = [
            float(np.ptp(values)) + 1 for values in (x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle))
        ]
        if sides[0] * sides[1] < best[1]:
            best = (min(sides), sides[0] * sides[1])
    return best


def _count_pieces(mask: NDArray[np.bool_]) -> int:
    """Returns the number of components that are large enough to be ink."""
    sizes = np.bincount(label_components(mask).ravel())[1:]
    return int((sizes >= MIN_COMPONENT_SHARE * sizes.max()).sum())


def _sides(labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Returns the height and width of each component."""
    rows, columns = np.nonzero(labels)
    numbers, index = np.unique(labels[rows, columns], return_inverse=True)
    extents = []
    for positions in (rows, columns):
        low, high = np.full(len(numbers), labels.size), np.full(len(numbers), -1)
        np.minimum.at(low, index, positions)
        np.maximum.at(high, index, positions)
        extents.append((high - low + 1).tolist())
    return list(zip(*extents, strict=True))


def label_components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the number of each pixel's component (connected by side or corner), (h, w); 0 outside of `mask`.

    Union-find over the runs of True in the rows.
    """
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = (indices.tolist() for indices in np.nonzero(steps == 1))
    ends = np.nonzero(steps == -1)[1].tolist()
    parents = list(range(len(rows)))
    first = 0  # the first run of the row above that ends at or after the start of the current run
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
