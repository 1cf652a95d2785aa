"""The journal of a study: Optuna's, with a digest in each line, so that a damaged line is not taken for a trial."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from flows.core.file_lock import exclusive_lock
from stages.base.digests import sealed, unsealed
from stages.base.errors import InvalidInput


class SealedJournal(JournalFileBackend):  # type: ignore[misc]  # Optuna has no types
    """Optuna's file of trials; Optuna itself reads it too, and ignores the digests."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yields the lines from a number on; lines of earlier versions have no digest.

        Raises:
            InvalidInput: a line is damaged.
        """
        try:
            yield from map(unsealed, super().read_logs(log_number_from))
        except ValueError as error:
            raise InvalidInput(
                f"{self._file_path} cannot be read ({error}); restore it from a copy, or name another with --study"
            ) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends lines with their digests."""
        super().append_logs([sealed(log) for log in logs])


class JournalLock:
    """A lock on the journal that the system releases when a process dies; removes the half line that one has left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Waits for the lock, and returns True.

        Raises:
            OSError: the journal cannot be opened; the lock is free again, or the next call would wait for this one.
        """
        with ExitStack() as held:
            held.enter_context(exclusive_lock(self._path.with_name("journal.lock")))
            with self._path.open("r+b") as file:
                content_end = file.seek(0, os.SEEK_END)
                if content_end and not _ends_with_line(file, content_end):
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            self._held = held.pop_all()
        return True

    def release(self) -> None:
        """Releases the lock."""
        self._held.close()


def _ends_with_line(file: Any, size: int) -> bool:
    file.seek(size - 1)
    return bool(file.read(1) == b"\n")
