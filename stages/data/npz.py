"""Reads untrusted npz and npy files: all sizes are checked before anything is unpacked.

Nothing is unpickled, and nothing larger than the limit is allocated, whatever the zip directory or an array header
claims. Error messages here do not name the file; `stages.data.datasets.error_context` adds its name and a remedy.
"""

import io
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, raise_fault

READ_LIMIT = 1 << 20  # bytes per read; also the largest zip directory, about 10,000 entries
HEADER_LIMIT = 1_000  # characters of an array header; NumPy writes about 70
MAX_DIMENSIONS, MAX_SIDE = 8, 1 << 40
MAX_EMPTY = 1 << 24  # product of the other sides beside a side of 0: no content bounds it, but reading goes through it
# The compressions that NumPy writes; the size of the others cannot be bounded while unpacking.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1  # flag bit of a zip entry
# Raised by zipfile and zlib on damaged content; RuntimeError: zipfile does not support a feature of the file.
DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)


@dataclass(frozen=True)
class Entry:
    """An unread array in an open npz file or in an npy file."""

    source: zipfile.ZipFile | Path
    name: str
    shape: tuple[int, ...]
    fortran: bool  # order in memory
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """Reads the whole array, in C order.

        Raises:
            DataError: the content is damaged or truncated.
        """
        shape = self.shape[::-1] if self.fortran else self.shape
        array = np.empty(shape, self.dtype)
        with self._content() as stream, _read_errors(self.name):
            _read_into(stream, array)
        return np.ascontiguousarray(array.T) if self.fortran else array

    def chunks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Reads the array in chunks of at most `rows` along the first axis.

        Raises:
            DataError: the content is damaged, truncated, or not in C order.
        """
        if self.fortran and len(self.shape) > 1:
            raise DataError(f"{self.name} is stored in Fortran order, expected C order")
        return self._read_chunks(rows)

    def _read_chunks(self, rows: int) -> Iterator[NDArray[Any]]:
        count, *sample = self.shape
        with self._content() as stream:
            for start in range(0, count, rows):
                chunk = np.empty((min(rows, count - start), *sample), self.dtype)
                with _read_errors(self.name):
                    _read_into(stream, chunk)
                yield chunk

    def _content(self) -> IO[bytes]:
        """Opens the array at the end of its header."""
        with _read_errors(self.name):
            source, entry = self.source, f"{self.name}.npy"
            stream: IO[bytes] = source.open("rb") if isinstance(source, Path) else source.open(entry)
            _header(stream, self.name)
            return stream


@contextmanager
def open_npz(path: Path, names: Sequence[str], max_bytes: int) -> Iterator[dict[str, Entry]]:
    """Opens the arrays `names` of the npz file `path`, which may take at most `max_bytes` together.

    Raises:
        DataError: the file is no zip file, or an array is missing, too large, or different from its header.
    """
    with _open_zip(path) as archive:
        infos = {name: _zip_info(archive, name) for name in names}
        declared = sum(info.file_size for info in infos.values())
        if declared > max_bytes:
            raise DataError(f"its arrays unpack to {declared:,} bytes, expected at most {max_bytes:,} (max_bytes)")
        yield {name: _zip_entry(archive, name, info.file_size) for name, info in infos.items()}


def array_names(path: Path) -> list[str]:
    """Returns the sorted names of the arrays in the npz file `path`.

    Raises:
        DataError: the file is damaged or no zip file.
    """
    with _open_zip(path) as archive:
        return sorted({name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")})


def open_npy(path: Path, name: str, max_bytes: int) -> Entry:
    """Opens the array of the npy file `path`, of at most `max_bytes`. Error messages call the array `name`.

    Raises:
        DataError: the file is no npy file, too large, or different from its header.
    """
    with _read_errors("the file"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise DataError(f"it has {size:,} bytes, expected at most {max_bytes:,}")
        return _check_entry(Entry(path, name, *_header(file, name)), size, file.tell())


class _BoundedFile(io.FileIO):
    """A file that reads at most READ_LIMIT bytes at once, because a zip directory may claim any size."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads like FileIO.read, but raises BadZipFile above the limit."""
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > READ_LIMIT:
            raise zipfile.BadZipFile(f"its zip directory claims {size:,} bytes")
        return super().read(size) or b""


@contextmanager
def _read_errors(subject: str) -> Iterator[None]:
    """Converts errors of reading and unpacking to a DataError about `subject`."""
    try:
        yield
    except DAMAGE_ERRORS as error:
        reason = _one_line(error) or "it ends too early"
        raise DataError(f"{subject} is damaged or cut short ({reason})") from error
    except OSError as error:
        raise_fault(error)
        raise DataError(f"{subject} cannot be read ({error.strerror or error})") from error


def _one_line(error: Exception) -> str:
    """Returns the message of `error` on one line; it may quote the file."""
    return " ".join(str(error).split())[:80]


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with _read_errors("the file"):
        file = _BoundedFile(path)
    with file:
        with _read_errors("the zip file"):
            archive = _zip_file(file)
        with archive:
            yield archive


def _zip_file(file: _BoundedFile) -> zipfile.ZipFile:
    start = file.read(2)
    file.seek(0)
    try:
        return zipfile.ZipFile(file)
    except DAMAGE_ERRORS as error:
        if start == b"PK":
            raise
        raise DataError(f"not a zip file: it begins with {start!r}, expected b'PK'") from error


def _zip_info(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        names = ", ".join(sorted(archive.namelist())[:8]) or "nothing"
        raise DataError(f"the array {name} is missing, found {names[:200]!r}") from error
    if archive.namelist().count(info.filename) > 1:  # readers take one or the other
        raise DataError(f"holds the array {name} more than once, expected a file of np.savez")
    if info.compress_type not in COMPRESSIONS or info.flag_bits & ENCRYPTED:
        raise DataError(f"{name} is encrypted or has an unknown compression, expected a file of np.savez")
    return info


def _zip_entry(archive: zipfile.ZipFile, name: str, declared: int) -> Entry:
    """Reads the header of the array `name`, which must match the `declared` size in the zip directory."""
    with _read_errors(name), archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream, name)
        start = stream.tell()
    return _check_entry(Entry(archive, name, shape, fortran, dtype), declared, start)


def _check_entry(entry: Entry, declared: int, start: int) -> Entry:
    """Returns `entry` if its header, which ends at `start`, matches the `declared` size of header and content."""
    name, shape, dtype = entry.name, entry.shape, entry.dtype
    if dtype.hasobject:
        raise DataError(
            f"{name} holds pickled Python objects, which are never loaded; save one array of numbers, sequences of "
            "different lengths padded with 0 to one length, as keras.utils.pad_sequences does"
        )
    # Sides of other types and zero sides beside huge ones would pass the comparison of sizes.
    if len(shape) > MAX_DIMENSIONS or not all(type(side) is int and 0 <= side <= MAX_SIDE for side in shape):
        raise DataError(f"{name} has the shape {str(shape)[:80]}, expected at most {MAX_DIMENSIONS} whole numbers")
    if 0 in shape and math.prod(side or 1 for side in shape) > MAX_EMPTY:
        raise DataError(f"{name} has the shape {shape}, which is huge, but holds nothing")
    if not dtype.itemsize or dtype.subdtype:
        raise DataError(f"{name} holds {dtype}, expected numbers")
    if entry.nbytes != declared - start:
        raise DataError(f"{name} says {dtype} {shape}, but holds {declared - start:,} bytes")
    return entry


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads shape, Fortran order and dtype; `stream` is then at the start of the content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers of Python 2, which are valid
            if (version := np.lib.format.read_magic(stream)) != (1, 0):
                raise DataError(f"{name} is in npy format {version}, expected (1, 0)")
            return np.lib.format.read_array_header_1_0(stream, max_header_size=HEADER_LIMIT)
    except (ValueError, TypeError, LookupError, ArithmeticError, SyntaxError) as error:
        raise DataError(f"{name} has no valid npy header ({_one_line(error)})") from error
    except (AttributeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise DataError(f"{name} has no valid npy header") from error


def _read_into(stream: IO[bytes], array: NDArray[Any]) -> None:
    """Fills all of `array` from `stream`."""
    buffer = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(buffer):
        piece = stream.read(min(READ_LIMIT, len(buffer) - done))
        if not piece:
            raise EOFError
        buffer[done : done + len(piece)] = piece
        done += len(piece)
