"""Reads rows of a .npy file on demand, without mapping the file into memory.

The pages of a memory map count as resident memory once they are touched; positional reads do not.
"""

import math
import os
import tokenize
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64  # bytes; TensorFlow uses memory with this alignment without a copy
# Raised by NumPy besides OSError and ValueError.
HEADER_ERRORS = (
    EOFError, TypeError, LookupError, ArithmeticError, AttributeError, SyntaxError, RecursionError, MemoryError,
    tokenize.TokenError,
)  # fmt: skip


def empty_aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns an uninitialised array whose memory starts at a multiple of ALIGNMENT."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


class NpyReader:
    """Array-like access to the rows (n, ...) of a .npy file in C order. Only the requested rows are in memory.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no .npy file, or its array is a scalar or not in C order.
    """

    def __init__(self, path: Path) -> None:
        try:
            mapped = np.lib.format.open_memmap(path, mode="r")  # np.load would open a zip file too
        except HEADER_ERRORS as error:
            raise ValueError(f"its header is invalid: {error}") from error
        if not mapped.ndim or not mapped.flags.c_contiguous:
            raise ValueError(f"got {mapped.dtype} of shape {mapped.shape}, expected an array with rows in C order")
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
        """Returns a copy of the rows of a slice without a step, or of indices (k,).

        Raises:
            OSError: the file is shorter than its header says.
        """
        if isinstance(rows, slice):
            first, stop, _ = rows.indices(len(self))
            result = empty_aligned((max(0, stop - first), *self.shape[1:]), self.dtype)
            if result.size:  # a memoryview without bytes cannot be cast
                self._read_into(result.data.cast("B"), first)
            return result
        result = empty_aligned((len(rows), *self.shape[1:]), self.dtype)
        buffer = result.data.cast("B")
        for index, row in enumerate(rows.tolist()):
            self._read_into(buffer[index * self._row_bytes : (index + 1) * self._row_bytes], row)
        return result

    def _read_into(self, buffer: memoryview, row: int) -> None:
        offset, done = self._start + row * self._row_bytes, 0
        while done < len(buffer):
            count = os.preadv(self._file, [buffer[done:]], offset + done)
            if not count:
                raise OSError(f"{self._name} ends before row {row}")
            done += count
