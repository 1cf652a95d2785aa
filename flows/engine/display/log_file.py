"""A file with all lines of a run, for runs whose terminal shows only a part of them."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from flows.core.redaction import mask
from flows.engine.stamps import next_stamp

FOLDER = Path(".inkflow/logs")
KEPT = 20  # files of earlier runs
STAMP = "%Y%m%d-%H%M%S"


class LogFile:
    """Writes lines to a new file in FOLDER; a file that cannot be written stops nothing.

    Attributes:
        path: of the file; None if it could not be opened.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self._file = None
        with suppress(OSError):
            FOLDER.mkdir(parents=True, exist_ok=True)
            names = sorted(path.name for path in FOLDER.glob("*.log"))
            stamp = next_stamp(STAMP, time.strftime(STAMP), names)
            for old in names[: 1 - KEPT]:
                with suppress(OSError):
                    (FOLDER / old).unlink(missing_ok=True)  # another run may have removed it
            path = FOLDER / f"{stamp}-{os.getpid()}.log"
            self._file, self.path = path.open("w", encoding="utf-8", errors="replace"), path

    def write(self, lines: Iterable[str]) -> None:
        """Writes `lines`, without secrets."""
        if self._file is not None:
            with suppress(OSError, ValueError):
                self._file.write(mask("".join(f"{line}\n" for line in lines)))
                self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
