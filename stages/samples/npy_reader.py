"""An array in a .npy file whose rows are read as they are wanted, without the file becoming part of the memory.

A memory map would count each page that was ever touched as resident; reading at a place does not.
"""

import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64  # bytes: memory that begins so TensorFlow can use as it is


def aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array without content whose memory begins at a multiple of ALIGNMENT."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


class Stored:
    """The rows (n, ...) of a .npy file in C order; reading some needs no more memory than they take.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.memmap) or not mapped.ndim or not mapped.flags.c_contiguous:
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape} is not rows that lie one after another")
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype = mapped.dtype
        self.nbytes = mapped.nbytes
        self._row_bytes = mapped.nbytes // max(1, len(mapped))
        self._start = mapped.offset
        self._name, self._file = str(path), os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """A copy of these rows: a slice without a step, or indices (k,).

        Raises:
            OSError: the file has become shorter than it was.
        """
        if isinstance(rows, slice):
            first, stop, _ = rows.indices(len(self))
            found = aligned((max(0, stop - first), *self.shape[1:]), self.dtype)
            self._fill(found.data.cast("B"), first)
            return found
        found = aligned((len(rows), *self.shape[1:]), self.dtype)
        lines = found.data.cast("B")
        for place, row in enumerate(rows.tolist()):
            self._fill(lines[place * self._row_bytes : (place + 1) * self._row_bytes], row)
        return found

    def _fill(self, target: memoryview, row: int) -> None:
        offset, done = self._start + row * self._row_bytes, 0
        while done < len(target):
            count = os.preadv(self._file, [target[done:]], offset + done)
            if not count:
                raise OSError(f"{self._name} ends before its row {row}")
            done += count
