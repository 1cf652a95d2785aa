"""Reading npz files that nobody vouches for: what they claim is checked before a byte is unpacked.

Nothing is unpickled, nothing larger than the stated limit is allocated, whatever the zip directory
or an array's header says. Errors here tell only what is wrong; `stages.data.datasets.blaming` adds which
file and what to do.
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

from stages.base.errors import DataError

READ_LIMIT = 1 << 20  # bytes in one read: also the largest zip directory, some 10,000 entries
HEADER_LIMIT = 1_000  # characters of an array's description; numpy writes about 70
# All that numpy writes; the others unpack without bound.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1  # bit of a zip entry's flags
# What zipfile and zlib raise on damaged content (RuntimeError: what zipfile cannot do).
DAMAGED = (
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
    """One array in an open npz file, or in an npy file: what it is, before its content is read."""

    source: zipfile.ZipFile | Path
    name: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the content, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """The whole array, in C order.

        Raises:
            DataError: the content is damaged or cut short.
        """
        shape = self.shape[::-1] if self.fortran else self.shape
        array = np.empty(shape, self.dtype)
        with self._content() as stream, _readable(self.name):
            _fill(stream, array)
        return np.ascontiguousarray(array.T) if self.fortran else array

    def chunks(self, rows: int) -> Iterator[NDArray[Any]]:
        """The array in pieces of at most `rows` along its first axis.

        Raises:
            DataError: the content is damaged, cut short, or not in C order.
        """
        if self.fortran and len(self.shape) > 1:
            raise DataError(f"{self.name} is stored in Fortran order, expected C order")
        return self._blocks(rows)

    def _blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        count, *sample = self.shape
        with self._content() as stream:
            for start in range(0, count, rows):
                block = np.empty((min(rows, count - start), *sample), self.dtype)
                with _readable(self.name):
                    _fill(stream, block)
                yield block

    def _content(self) -> IO[bytes]:
        """The entry, open after its header."""
        with _readable(self.name):
            source, entry = self.source, f"{self.name}.npy"
            stream: IO[bytes] = source.open("rb") if isinstance(source, Path) else source.open(entry)
            _header(stream, self.name)
            return stream


@contextmanager
def open_npz(path: Path, names: Sequence[str], max_bytes: int) -> Iterator[dict[str, Entry]]:
    """The arrays `names` of the npz file `path`, whose content together takes at most `max_bytes`.

    Raises:
        DataError: not a zip file, an array is missing, too large, or not what its header says.
    """
    with _Bounded(_existing(path)) as file:
        with _readable("the zip file"):
            archive = _archive(file)
        with archive:
            listed = {name: _listed(archive, name) for name in names}
            declared = sum(entry.file_size for entry in listed.values())
            if declared > max_bytes:
                raise DataError(f"its arrays unpack to {declared:,} bytes, expected at most {max_bytes:,} (max_bytes)")
            yield {name: _entry(archive, name, entry.file_size) for name, entry in listed.items()}


def array_names(path: Path) -> list[str]:
    """Names of the arrays in the npz file `path`, sorted.

    Raises:
        DataError: not a zip file, or a damaged one.
    """
    with _Bounded(_existing(path)) as file, _readable("the zip file"), _archive(file) as archive:
        return sorted({name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")})


def open_npy(path: Path, name: str, max_bytes: int) -> Entry:
    """The array of the npy file `path`, of at most `max_bytes`, which messages call `name`.

    Raises:
        DataError: not an npy file, too large, or not what its header says.
    """
    with _readable("the file"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise DataError(f"it has {size:,} bytes, expected at most {max_bytes:,}")
        return _checked(Entry(path, name, *_header(file, name)), size, file.tell())


class _Bounded(io.FileIO):
    """File that gives no more than READ_LIMIT bytes at once: a zip directory may claim any size."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Like FileIO.read, with a limit."""
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > READ_LIMIT:
            raise zipfile.BadZipFile(f"its zip directory claims {size:,} bytes")
        return super().read(size) or b""


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Errors of reading and unpacking as a DataError about `what`."""
    try:
        yield
    except DAMAGED as error:
        reason = _brief(error) or "it ends too early"
        raise DataError(f"{what} is damaged or cut short ({reason})") from error
    except OSError as error:
        raise DataError(f"{what} cannot be read ({error.strerror or error})") from error


def _brief(error: Exception) -> str:
    """The error's text on one line: it may quote the file."""
    return " ".join(str(error).split())[:80]


def _existing(path: Path) -> Path:
    with _readable("the file"):
        path.open("rb").close()
    return path


def _archive(file: _Bounded) -> zipfile.ZipFile:
    start = file.read(2)
    file.seek(0)
    try:
        return zipfile.ZipFile(file)
    except DAMAGED as error:
        if start == b"PK":
            raise
        raise DataError(f"not a zip file: it begins with {start!r}, expected b'PK'") from error


def _listed(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        found = ", ".join(sorted(archive.namelist())[:8]) or "nothing"
        raise DataError(f"the array {name} is missing, found {found[:200]!r}") from error
    if entry.compress_type not in COMPRESSIONS or entry.flag_bits & ENCRYPTED:
        raise DataError(f"{name} is encrypted or oddly packed, expected it as np.savez writes it")
    return entry


def _entry(archive: zipfile.ZipFile, name: str, declared: int) -> Entry:
    """What the header of `name` says, which must agree with the zip directory's size."""
    with _readable(name), archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream, name)
        start = stream.tell()
    return _checked(Entry(archive, name, shape, fortran, dtype), declared, start)


def _checked(entry: Entry, declared: int, start: int) -> Entry:
    """`entry`, whose header ends at `start` of `declared` bytes, if it is what it says."""
    name, shape, dtype = entry.name, entry.shape, entry.dtype
    if dtype.hasobject:
        raise DataError(f"{name} holds pickled Python objects, which are never loaded")
    if any(side < 0 for side in shape) or entry.nbytes != declared - start:
        raise DataError(f"{name} says {dtype} {shape}, but holds {declared - start:,} bytes")
    return entry


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype; `stream` then stands at the content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of Python 2's headers, which are fine
            if (version := np.lib.format.read_magic(stream)) != (1, 0):
                raise DataError(f"{name} is in npy format {version}, expected (1, 0)")
            return np.lib.format.read_array_header_1_0(stream, max_header_size=HEADER_LIMIT)
    except (ValueError, TypeError, LookupError, ArithmeticError, SyntaxError) as error:
        raise DataError(f"{name} has no valid npy header ({_brief(error)})") from error
    except (AttributeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise DataError(f"{name} has no valid npy header") from error


def _fill(stream: IO[bytes], block: NDArray[Any]) -> None:
    """Read into all of `block`."""
    content = block.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(content):
        piece = stream.read(min(READ_LIMIT, len(content) - done))
        if not piece:
            raise EOFError
        content[done : done + len(piece)] = piece
        done += len(piece)
