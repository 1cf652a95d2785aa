"""Samples on their way to the device: all at once where they fit, else read in turn in bounded memory.

Both ways bring the same samples in the same order, so that the results are the same to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.model.config import Model
from stages.model.tasks import encode, sample_weights
from stages.samples.prepared import RESIDENT_BYTES, Images, Part
from stages.train.backends.interface import Loop, Rows

CHUNK_BYTES = 24 * 2**20  # of images in one reading

Order = NDArray[np.int64]
Chunk = tuple[Sequence[Any], Rows]


class Batches(Protocol):
    """One part of the data, ready to be gone through."""

    @property
    def samples(self) -> int:
        """How many samples the part has."""
        ...

    def batches(self, order: Order, size: int, steps: int) -> Iterator[Chunk]:
        """Arrays on the device, and the indices (at most `steps`, size) of batches in them; the last may be smaller."""
        ...


def feed(loop: Loop, part: Part, model: Model, classes: int, *, weighted: bool = False) -> Batches:
    """The images, encoded labels and, where `weighted` and wanted, weights of `part` for `loop`."""
    weights = sample_weights(part.labels, model, classes, part.weights) if weighted else None

    def beside(rows: Any) -> list[NDArray[Any]]:
        """What goes with the images of these rows."""
        of_rows = [] if weights is None else [weights[rows]]
        return [_narrow(encode(part.labels[rows], model, classes)), *of_rows]

    if part.images.nbytes <= RESIDENT_BYTES:
        everything = slice(None)
        return Resident(loop.hold([part.images[everything], *beside(everything)]), len(part.labels))
    return Streamed(loop, part.images, beside)


class Resident:
    """All samples on the device: Python hands over their order alone."""

    def __init__(self, held: Sequence[Any], samples: int) -> None:
        self._held, self.samples = held, samples

    def batches(self, order: Order, size: int, steps: int) -> Iterator[Chunk]:
        """The whole arrays, with the next batches' rows."""
        for rows in cut(order.astype(np.int32), size, steps):
            yield self._held, rows


class Streamed:
    """Samples that are read from their file while the device is busy with those before."""

    def __init__(self, loop: Loop, images: Images, beside: Callable[[Any], list[NDArray[Any]]]) -> None:
        self._loop, self._images, self._beside = loop, images, beside
        self.samples = len(images)

    def batches(self, order: Order, size: int, steps: int) -> Iterator[Chunk]:
        """The samples of the next batches alone, in their order."""
        affordable = max(1, CHUNK_BYTES // (size * (self._images.nbytes // self.samples)))
        pieces = cut(order, size, min(steps, affordable))
        with ThreadPoolExecutor(1) as reader:
            coming = [reader.submit(self._read, piece) for piece in [next(pieces)]]
            for piece in pieces:
                coming.append(reader.submit(self._read, piece))
                yield self._held(coming.pop(0).result())
            yield self._held(coming.pop(0).result())

    def _read(self, rows: Order) -> tuple[list[NDArray[Any]], tuple[int, ...]]:
        flat = rows.ravel()
        return [self._images[flat], *self._beside(flat)], rows.shape

    def _held(self, read: tuple[list[NDArray[Any]], tuple[int, ...]]) -> Chunk:
        arrays, shape = read
        return self._loop.hold(arrays), np.arange(len(arrays[0]), dtype=np.int32).reshape(shape)


def cut(order: NDArray[Any], size: int, steps: int) -> Iterator[NDArray[Any]]:
    """`order` in pieces of (at most `steps`, size) and, where a smaller batch is left, (1, what is left)."""
    whole = len(order) // size * size
    lines = order[:whole].reshape(-1, size)
    for first in range(0, len(lines), steps):
        yield lines[first : first + steps]
    if whole < len(order):
        yield order[None, whole:]


def _narrow(labels: NDArray[Any]) -> NDArray[Any]:
    """Integers in the 32 bits that every backend has."""
    return labels.astype(np.int32) if labels.dtype == np.int64 else labels
