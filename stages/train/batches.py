"""Batches of training and validation samples on the device.

A part that fits into memory is copied to the device once; a larger part is read from disk in chunks of bounded size.
Both ways give the same samples in the same order, so the results are the same to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.model.config import Model
from stages.model.tasks import encode, sample_weights
from stages.samples.prepared import RESIDENT_BYTES, Images, Part
from stages.train.backends.interface import BatchIndices, Loop

CHUNK_BYTES = 24 * 2**20  # of images in one chunk

Order = NDArray[np.int64]
Chunk = tuple[Sequence[Any], BatchIndices]
Selection = slice | Order


class Batches(Protocol):
    """The samples of one part of the data, in batches."""

    @property
    def samples(self) -> int:
        """Number of samples of the part."""
        ...

    def batches(self, order: Order, size: int, steps: int) -> Iterator[Chunk]:
        """Yields arrays on the device, and the indices (at most `steps`, size) of batches in them.

        The last batch may be smaller.
        """
        ...


def make_batches(loop: Loop, part: Part, model: Model, classes: int, *, weighted: bool = False) -> Batches:
    """Returns the batches of `part`: images, encoded labels and, if `weighted`, the sample weights of the model."""
    weights = sample_weights(part.labels, model, classes, part.weights) if weighted else None

    def read_targets(rows: Selection) -> list[NDArray[Any]]:
        """Returns the encoded labels of `rows` and, if there are any, their weights."""
        targets = _as_int32(encode(part.labels[rows], model, classes))
        return [targets] if weights is None else [targets, weights[rows]]

    if part.images.nbytes <= RESIDENT_BYTES:
        all_rows = slice(None)
        return DeviceBatches(loop.to_device([part.images[all_rows], *read_targets(all_rows)]), len(part.labels))
    return StreamedBatches(loop, part.images, read_targets)


class DeviceBatches:
    """Batches of samples that are all on the device: only their order is sent."""

    def __init__(self, arrays: Sequence[Any], samples: int) -> None:
        self._arrays, self.samples = arrays, samples

    def batches(self, order: Order, size: int, steps: int) -> Iterator[Chunk]:
        """Yields the whole arrays with the indices of the next batches."""
        for indices in split_order(order.astype(np.int32), size, steps):
            yield self._arrays, indices


class StreamedBatches:
    """Batches of samples that are read from disk while the device computes on the chunk before."""

    def __init__(self, loop: Loop, images: Images, read_targets: Callable[[Selection], list[NDArray[Any]]]) -> None:
        self._loop, self._images, self._read_targets = loop, images, read_targets
        self.samples = len(images)

    def batches(self, order: Order, size: int, steps: int) -> Iterator[Chunk]:
        """Yields the samples of the next batches alone, in their order."""
        affordable = max(1, CHUNK_BYTES // (size * (self._images.nbytes // self.samples)))
        chunks = split_order(order, size, min(steps, affordable))
        with ThreadPoolExecutor(1) as reader:
            pending = [reader.submit(self._read, next(chunks))]
            for indices in chunks:
                pending.append(reader.submit(self._read, indices))
                yield self._to_device(*pending.pop(0).result())
            yield self._to_device(*pending.pop(0).result())

    def _read(self, indices: Order) -> tuple[list[NDArray[Any]], tuple[int, ...]]:
        rows = indices.ravel()
        return [self._images[rows], *self._read_targets(rows)], indices.shape

    def _to_device(self, arrays: list[NDArray[Any]], shape: tuple[int, ...]) -> Chunk:
        return self._loop.to_device(arrays), np.arange(len(arrays[0]), dtype=np.int32).reshape(shape)


def split_order(order: NDArray[Any], size: int, steps: int) -> Iterator[NDArray[Any]]:
    """Yields `order` in pieces of (at most `steps`, size) and, if samples remain, a last piece (1, remaining)."""
    whole = len(order) // size * size
    full_batches = order[:whole].reshape(-1, size)
    for first in range(0, len(full_batches), steps):
        yield full_batches[first : first + steps]
    if whole < len(order):
        yield order[None, whole:]


def _as_int32(labels: NDArray[Any]) -> NDArray[Any]:
    """Returns int64 labels as int32, which every backend has; other types unchanged."""
    return labels.astype(np.int32) if labels.dtype == np.int64 else labels
