"""The file of an unfinished download, and a record beside it, by which later attempts know which bytes they can keep.

The record has the version of the file on the server, and number and SHA-256 of the bytes received by then. Bytes beyond
that number are dropped, and with another SHA-256 the download starts over: a damaged byte of an earlier attempt would
otherwise pass for one of the server.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from stages.base.errors import DataError
from stages.base.files import read_json, write_json

RECORD_BYTES = 4 << 20  # between two records, and so the largest number of bytes that a kill loses
READ_BYTES = 1 << 20
VALIDATOR = re.compile(r"[ -~]{1,1000}")  # what a header of a request can hold


class Record(BaseModel):
    """What is known of the part file: the version of the file on the server, and its first bytes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    validator: str = Field(pattern=rf"^{VALIDATOR.pattern}$")
    size: NonNegativeInt
    sha256: str


class PartFile:
    """The received bytes of a download.

    Attributes:
        path: their file.
        size: number of received bytes.
        validator: identifies the version of the file on the server; empty if nothing does.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.validator = path, 0, ""
        self._record, self._digest = path.with_name(f"{path.name}.version"), hashlib.sha256()

    def resume(self) -> None:
        """Takes up the bytes of an earlier attempt, or none if they are not as recorded or of an unknown version.

        Links, pipes and other special files in their place are removed.

        Raises:
            OSError: the files cannot be removed.
        """
        self._forget()
        try:
            if not all(stat.S_ISREG(file.lstat().st_mode) for file in (self.path, self._record)):
                raise DataError("no regular file")
            record = read_json(self._record, Record, "")
        except (FileNotFoundError, DataError):
            self.remove()
            return
        with self.path.open("r+b") as file:
            while piece := file.read(min(READ_BYTES, record.size - self.size)):
                self._digest.update(piece)
                self.size += len(piece)
            file.truncate(self.size)
        self.validator = record.validator
        if (self.size, self._digest.hexdigest()) != (record.size, record.sha256):
            self.remove()

    def start(self, validator: str) -> None:
        """Starts over, with a file that `validator` identifies on the server.

        Raises:
            OSError: the files of an earlier attempt cannot be removed.
        """
        self.remove()
        self.validator = validator

    def remove(self) -> None:
        """Removes the received bytes and their record.

        Raises:
            OSError: they cannot be removed.
        """
        self._record.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self.size, self.validator, self._digest = 0, "", hashlib.sha256()

    @contextmanager
    def appending(self) -> Iterator[Callable[[bytes], None]]:
        """Yields a function that appends bytes; they are recorded at the end, after an error too.

        Raises:
            OSError, OutputError: they cannot be written.
        """
        recorded = self.size
        with open(self.path, "ab", opener=_open_no_link) as file:

            def record() -> None:
                nonlocal recorded
                file.flush()
                recorded = self.size
                if self.validator:
                    content = Record(validator=self.validator, size=self.size, sha256=self._digest.hexdigest())
                    write_json(self._record, content.model_dump())

            def append(piece: bytes) -> None:
                file.write(piece)
                self._digest.update(piece)
                self.size += len(piece)
                if self.size - recorded >= RECORD_BYTES:
                    record()

            try:
                yield append
            finally:
                record()


def _open_no_link(path: str, flags: int) -> int:
    """Opens a file, and no link: the bytes of the server would be added to another file."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
