"""MATLAB files up to version 7, such as those of SVHN, USPS and EMNIST."""

import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
from numpy.typing import NDArray

from stages.base.errors import DataError, raise_fault
from stages.own_data.extras import unused_note
from stages.own_data.files import HDF5, START_BYTES
from stages.own_data.npz_arrays import check_keys, chosen_keys, named_pieces
from stages.own_data.options import Options
from stages.own_data.pieces import KEYS_REMEDY, Piece, kind_of, shapes_text

HEADER, TAG, COMPRESSED = 128, 8, 15  # bytes of a MAT file's header and of an element's tag; type of packed elements
BLOCK = 1 << 20
MATRIX, CONTAINERS = 14, (1, 2, 3, 16, 17)  # type of arrays; classes of arrays that hold others: cells, structs, ...
MAX_CONTAINERS = 1_000  # scipy reads nested ones by recursion in C, where tens of thousands end the process
MAX_ELEMENTS = 2_000_000  # 500,000 texts in cells; a file of zeros unpacks to a thousand times as many bytes
MAX_DEPTH = 4
SVHN_ZERO = 10
# scipy documents none of its errors on damaged files
DAMAGE_ERRORS = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, NotImplementedError,
    RuntimeError, zlib.error, scipy.io.matlab.MatReadError,
)  # fmt: skip


def read_matlab(path: Path, name: str, part: str | None, options: Options) -> list[Piece]:
    """Returns the pieces of a MATLAB file; fields of structs are named with dots, such as `dataset.train.images`.

    Raises:
        DataError: the file is damaged, too large, of version 7.3, or has no arrays of these names; the message does
            not name it.
    """
    _check_size(path, options.max_bytes)
    try:
        content = scipy.io.loadmat(path, simplify_cells=True)
    except DAMAGE_ERRORS as error:
        raise_fault(error)
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise DataError(f"is damaged or no MATLAB file ({reason}); save it again with `save -v7`") from error
    arrays = dict(_arrays(content, "", options.max_bytes))
    if chosen := chosen_keys(options):
        known = [key for keys in chosen.values() for key in keys.values()]
        check_keys(known, list(arrays))
    else:
        known = [key for key, array in arrays.items() if kind_of(key) and array.dtype.kind in "buifUO"]
        if not known:
            raise DataError(f"has the arrays {shapes_text(arrays)}, none of which is named as images; {KEYS_REMEDY}")
    pieces, used = named_pieces(name, arrays, known, chosen, part)
    pieces[0].notes += unused_note(name, [key for key in arrays if key not in used])
    for piece in [] if chosen else pieces:
        if piece.images is None or piece.labels is None:
            continue
        if is_svhn(piece.images, piece.labels):
            piece.labels = np.where(piece.labels == SVHN_ZERO, 0, piece.labels)
            piece.notes.append(f"{name}: the label 10 stands for 0, as in SVHN")
        side = math.isqrt(piece.images.shape[-1])
        if "dataset" in content and piece.images.ndim == 2 and side**2 == piece.images.shape[1]:
            piece.images = piece.images.reshape(-1, side, side).swapaxes(1, 2)
            piece.notes.append(f"{name}: pixels are read column by column, as in EMNIST")
    return pieces


def is_svhn(images: NDArray[Any], labels: NDArray[Any]) -> bool:
    """Returns whether a file has the form of SVHN: X (32, 32, 3, n), and labels 1 to 10, of which 10 stands for 0."""
    is_numeric = images.shape[:3] == (32, 32, 3) and images.ndim == 4 and labels.dtype.kind in "iuf"
    return is_numeric and set(np.unique(labels)) == set(range(1, 11))


def _arrays(value: Any, name: str, max_bytes: int, depth: int = 0) -> Any:
    """Yields names and arrays of at least one dimension, in structs too."""
    if scipy.sparse.issparse(value) and value.shape[0] * value.shape[1] * value.dtype.itemsize <= max_bytes:
        value = value.toarray()
    if isinstance(value, dict) and depth < MAX_DEPTH:
        for key, item in value.items():
            if not key.startswith("__"):
                yield from _arrays(item, f"{name}.{key}" if name else key, max_bytes, depth + 1)
    elif isinstance(value, np.ndarray) and value.ndim:
        yield name, value


def _check_size(path: Path, max_bytes: int) -> None:
    """Unpacks the elements of the file block by block and counts their bytes, since scipy has no limit.

    Raises:
        DataError: the file is of version 7.3, damaged, or unpacks to more than `max_bytes`.
    """
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        if start.startswith((HDF5, b"MATLAB 7.3")):
            raise DataError("is a MATLAB file of version 7.3 (HDF5), expected up to 7; save it with `save -v7`")
        if not start.startswith(b"MATLAB"):
            raise DataError("is no MATLAB file: its first word is not MATLAB; save it with `save -v7`")
        order = "<" if start[HEADER - 2 : HEADER] == b"IM" else ">"
        end = file.seek(0, os.SEEK_END)
        file.seek(HEADER)
        total, walk = 0, _Walk(order)
        while len(tag := file.read(TAG)) == TAG:
            kind, size = (int(number) for number in np.frombuffer(tag, f"{order}u4"))
            if size > end - file.tell():  # before it is read: Python makes room for all of it
                raise DataError("is cut short: its last array ends too early; download it again")
            data = file.read(size)
            total += size
            for block in _unpacked(data) if kind == COMPRESSED else [tag + data]:
                walk.add(block)
                total += len(block) if kind == COMPRESSED else 0
                if total > max_bytes:
                    raise DataError(f"unpacks to more than {max_bytes:,} bytes; raise --max-bytes")
        if tag:
            raise DataError("is cut short: its last array ends too early; download it again")


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Yields the content of a packed element in blocks."""
    unpacker = zlib.decompressobj()
    while data and not unpacker.eof:
        try:
            yield unpacker.decompress(data, BLOCK)
        except zlib.error as error:
            raise DataError(f"is damaged ({error}); download it again") from error
        data = unpacker.unconsumed_tail


class _Walk:
    """Walks over the elements of a file, block by block, and counts them and the arrays that hold others."""

    def __init__(self, order: str) -> None:
        self._head = struct.Struct(f"{order}II8xI")  # type and size of an array, and its flags after their tag
        self._pending, self._skip, self._containers, self._elements = bytearray(), 0, 0, 0

    def add(self, block: bytes) -> None:
        """Goes on to the end of `block`.

        Raises:
            DataError: there are too many elements, or too many arrays that hold others.
        """
        self._pending += block[self._skip :]
        self._skip = max(0, self._skip - len(block))
        place = 0
        while len(self._pending) - place >= 3 * TAG:  # of an array: its tag, the tag of its flags, its flags
            kind, size, flags = self._head.unpack_from(self._pending, place)
            self._elements += 1
            if kind >> 16:  # a small element: its data are in its tag
                place += TAG
            elif kind != MATRIX:
                place += TAG + size + -size % TAG
            else:
                self._containers += size > 0 and flags & 0xFF in CONTAINERS
                place += 3 * TAG if size else TAG
            if self._containers > MAX_CONTAINERS:
                raise DataError(f"has more than {MAX_CONTAINERS:,} cells and structs; save the images as one array")
            if self._elements > MAX_ELEMENTS:
                raise DataError(f"has more than {MAX_ELEMENTS:,} elements; save the images as one array")
        self._skip += max(0, place - len(self._pending))
        del self._pending[:place]
