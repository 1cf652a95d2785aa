"""The files that the user names: expands folders, downloads addresses, finds the form of each, reads within limits."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from stages.base.errors import DataError, SourceUnavailable, raise_fault
from stages.base.files import is_folder
from stages.base.shown_text import shown_url
from stages.data.datasets import error_context
from stages.download.http_download import READ_TIMEOUT_S
from stages.download.sources import DOWNLOADS, Source, local_file
from stages.own_data.arguments import is_url
from stages.own_data.pieces import part_of

GZIP, NPY, PARQUET, HDF5 = b"\x1f\x8b", b"\x93NUMPY", b"PAR1", b"\x89HDF\r\n\x1a\n"
START_BYTES = 512
UNPACK_BLOCK = 1 << 20
MAX_FILES = 1_000  # in a folder of data files
HIDDEN_STARTS = (".", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN")  # of macOS, Synology and Windows
FORMS = "npz, npy, IDX, CSV, MATLAB, Parquet, or a folder with one folder of pictures a class"
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".tra", ".tes")
OTHER_STARTS = (
    (b"Rar!", "RAR archive"), (b"7z\xbc\xaf", "7z archive"), (b"%PDF", "PDF file"), (b"SQLite", "SQLite file"),
    (b"<!DOCTYPE", "web page"), (b"<html", "web page"), (b"\x80\x04", "Python pickle"), (b"\x80\x02", "Python pickle"),
    (b"\x80\x03", "Python pickle"), (b"BZh", "bzip2 file"), (b"\xfd7zXZ", "xz file"),
)  # fmt: skip
PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


class File(NamedTuple):
    """One file on this machine: its path, its name for messages, and the part that its name says."""

    path: Path
    name: str
    part: str | None


def list_files(locations: list[str], part: str | None, max_bytes: int, stack: ExitStack) -> Iterator[File]:
    """Yields the files, and the folders of pictures, that the user named; downloads stay until `stack` is closed.

    Args:
        locations: paths and addresses; of a folder without folders of pictures the files in it are yielded.
        part: the part of all of them, or None if their names tell it.
        max_bytes: largest size of a file.
        stack: removes the downloads.

    Raises:
        DataError: a file is missing, too large, or no file.
        SourceUnavailable: an address does not answer.
    """
    for location in locations:
        if is_url(location):
            yield _downloaded(location, part, max_bytes, stack)
            continue
        path = Path(location)
        if is_folder(path) and not any(child.is_dir() and not is_hidden(child) for child in path.iterdir()):
            children = sorted(child for child in path.iterdir() if child.is_file() and not is_hidden(child))
            yield from (_local(child, part, max_bytes) for child in _without_packed_copies(path, children))
        else:
            yield _local(path, part, max_bytes)


def is_hidden(path: Path) -> bool:
    """Returns whether a file or folder is one that systems leave in folders, such as .DS_Store and @eaDir."""
    return path.name.startswith(HIDDEN_STARTS)


def _without_packed_copies(folder: Path, files: list[Path]) -> list[Path]:
    """Returns `files` without a .gz beside the same file unpacked, as torchvision leaves them.

    Raises:
        DataError: there is none, or there are pictures without folders.
    """
    found = [path for path in files if not (path.suffix == ".gz" and path.with_suffix("") in files)]
    if not 1 <= len(found) <= MAX_FILES or any(_start(path).startswith(PICTURE_STARTS) for path in found[:3]):
        got = "no file" if not found else f"{len(found):,} {'file' if len(found) == 1 else 'files'}, but no folder"
        raise DataError(f"{folder}: holds {got}, expected {FORMS}; put the pictures of each class into a folder")
    return found


def _local(path: Path, part: str | None, max_bytes: int) -> File:
    with error_context(str(path), "name a file or folder that exists, or an address that begins with https://"):
        try:
            if not path.exists():
                raise DataError("there is no such file or folder")
            if not (path.is_file() or path.is_dir()):
                raise DataError("is neither a file nor a folder")
            size = path.stat().st_size
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})") from error
    if path.is_file() and size > max_bytes:
        raise DataError(f"{path}: has {size:,} bytes, expected at most {max_bytes:,}; raise --max-bytes")
    return File(path, path.name, part or part_of(path.name))


def _downloaded(url: str, part: str | None, max_bytes: int, stack: ExitStack) -> File:
    label = shown_url(url)
    name = unquote(urlsplit(url).path.rsplit("/", 1)[-1]) or "download"
    stem = f"own-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    try:
        with error_context(label, "check the address, or raise --max-bytes"):
            path = stack.enter_context(local_file(Source(label, url), stem, max_bytes, READ_TIMEOUT_S, DOWNLOADS))
    except SourceUnavailable as error:
        raise SourceUnavailable(f"{label}: {error}; check the address, or download the file by hand") from error
    return File(path, name, part or part_of(name))


def form_of(file: File) -> str:
    """Returns "folder", "npz", "npy", "idx", "mat", "parquet" or "csv", by the first bytes of the file.

    Raises:
        DataError: it is none of these; the message does not name it.
    """
    if file.path.is_dir():
        return "folder"
    with open_unpacked(file.path) as stream:
        start = _read(stream, START_BYTES)
    starts = {b"PK": "npz", NPY: "npy", PARQUET: "parquet", b"MATLAB": "mat", HDF5: "mat"}
    if form := next((form for begin, form in starts.items() if start.startswith(begin)), None):
        return form
    named = file.name.lower().removesuffix(".gz")
    if start[:2] == b"\0\0" or "ubyte" in named or named.endswith(".idx"):
        return "idx"
    if named.endswith(".mat"):
        return "mat"
    if not start:
        raise DataError("is empty")
    kind = next((kind for begin, kind in OTHER_STARTS if start.lstrip().startswith(begin)), None)
    if kind is None and start.startswith(PICTURE_STARTS):
        raise DataError(f"is a single picture, expected {FORMS}")
    if kind is None and (named.endswith(TEXT_SUFFIXES) or _is_text(start)):
        return "csv"
    what = f"is a {kind}" if kind else f"begins with the bytes {start[:8].hex(' ')}"
    raise DataError(f"{what}, expected {FORMS}; convert or unpack it first")


def _is_text(start: bytes) -> bool:
    is_printable = all(byte >= 0x20 or byte in b"\t\r\n" for byte in start)
    return is_printable and 2 * sum(byte < 0x80 for byte in start) > len(start)


def _start(path: Path) -> bytes:
    with open_unpacked(path) as file:
        return _read(file, START_BYTES)


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file, through gzip if it is packed; an error of reading becomes a DataError that does not name it."""
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(len(GZIP)) == GZIP
            raw.seek(0)
            with gzip.open(raw) if is_packed else raw as file:
                yield file  # type: ignore[misc]  # both read bytes
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"is damaged or cut short ({error}); download it again") from error
    except OSError as error:
        raise_fault(error)
        raise DataError(f"cannot be read ({error.strerror or error})") from error


def _read(file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except EOFError:  # a packed file that is cut short: its reader says so
        return b""


def read_exactly(file: IO[Any], size: int, what: str) -> bytearray:
    """Reads `size` bytes block by block, so that a header that lies allocates nothing.

    Raises:
        DataError: the file ends before.
    """
    content = bytearray()
    while len(content) < size:
        block = file.read(min(UNPACK_BLOCK, size - len(content)))
        if not block:
            raise DataError(f"ends after {len(content):,} of {size:,} bytes of {what}; download it again")
        content += block
    return content


class Bounded:
    """A stream that raises a DataError after `limit` bytes, for readers that would unpack a file of any size."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._left, self._limit = file, limit, limit

    def read(self, size: int = -1) -> bytes:
        """Reads like a file.

        Raises:
            DataError: the limit is exceeded.
        """
        data = self._file.read(self._left + 1 if size < 0 else size)
        self._left -= len(data)
        if self._left < 0:
            raise DataError(f"unpacks to more than {self._limit:,} bytes; raise --max-bytes")
        return data

    def __iter__(self) -> Iterator[bytes]:
        """Iterates over the lines, within the limit."""
        for line in self._file:
            self._left -= len(line)
            if self._left < 0:
                raise DataError(f"unpacks to more than {self._limit:,} bytes; raise --max-bytes")
            yield line
