"""IDX files, the original form of MNIST, plain or packed by gzip (http://yann.lecun.com/exdb/mnist)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.own_data.files import open_unpacked, read_exactly
from stages.own_data.pieces import Piece, kind_of, kind_of_shape

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 4


def read_idx(path: Path, name: str, part: str | None, max_bytes: int) -> list[Piece]:
    """Returns the piece of an IDX file: labels if its name or its shape says so, else images.

    Raises:
        DataError: the file is damaged, cut short or too large; the message does not name it.
    """
    array = _read(path, max_bytes)
    if (kind_of(name) or kind_of_shape(array.shape)) == "x":
        return [Piece(name, part, images=array)]
    # The rows of QMNIST's labels are: class, then where the image comes from.
    return [Piece(name, part, labels=array[:, 0] if array.ndim == 2 and array.dtype.kind == "i" else array)]


def _read(path: Path, max_bytes: int) -> NDArray[Any]:
    with open_unpacked(path) as file:
        magic = read_exactly(file, 4, "its header")
        if magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= MAX_DIMENSIONS:
            raise DataError(
                f"begins with {magic!r}, expected an IDX file: two zero bytes, the type and the number of dimensions; "
                "download it again"
            )
        sides = read_exactly(file, 4 * magic[3], "its header")
        shape = [int.from_bytes(sides[start : start + 4]) for start in range(0, len(sides), 4)]
        if 0 in shape:
            raise DataError(f"has the shape {tuple(shape)}, expected at least 1 on each axis; download it again")
        kind = np.dtype(TYPES[magic[2]])
        size = math.prod(shape) * kind.itemsize
        if size > max_bytes:
            raise DataError(f"says that it holds {size:,} bytes, expected at most {max_bytes:,}; raise --max-bytes")
        content = read_exactly(file, size, f"its {shape[0]:,} rows")
        if file.read(1):
            raise DataError(f"goes on after its {shape[0]:,} rows, so its header is wrong; download it again")
    return np.frombuffer(content, kind).reshape(shape).astype(kind.newbyteorder("="))
