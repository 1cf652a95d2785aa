"""Messages of DVC's errors: a chain of causes in one sentence, and the errors that DVC logs instead of raising."""

import json
import logging
import os
import re
import shutil
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.cache import Cache, DiskError

from flows.core.errors import DvcFailed, PipelineInvalid
from flows.core.libraries import REMOTE_LIBRARIES
from flows.core.redaction import mask
from stages.base.errors import InkflowError, OutputError

TRANSFER_LOGGER = "dvc_data.hashfile.transfer"
MAX_REASON = 100  # characters of an error of SQLite, which can quote a whole row
# Errors of SQLite that tell no damage, but what this machine does not let it do now.
OF_THE_MACHINE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
}  # fmt: skip
UNSUPPORTED = re.compile(r"Unsupported value of type '(?P<type>\w+)' in '(?P<place>.+)'")  # DVC's TypeError
NO_JSON = re.compile(r"Object of type (?P<type>\w+) is not JSON")  # Python's
LOGGERS = ("dvc", "dvc_data", "dvc_objects", TRANSFER_LOGGER)


class ErrorCollector(logging.Handler):
    """Collects the exceptions that DVC logs. A failed transfer raises only the number of failed files."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Add the exception of `record`, if it has one."""
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Collect errors within the block; DVC's own handlers, which would print them, are detached meanwhile."""
        loggers = [logging.getLogger(name) for name in LOGGERS]
        before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
        for logger in loggers:
            self._attach(logger)
        try:
            yield
        finally:
            for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
                logger.setLevel(level)
                logger.propagate, logger.handlers = propagate, handlers

    def attach_to_transfers(self) -> None:
        """Collect the errors of transfers from now on, in all threads, whose `capture` blocks would overlap."""
        self._attach(logging.getLogger(TRANSFER_LOGGER))

    def _attach(self, logger: logging.Logger) -> None:
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        logger.handlers = [self]


@contextmanager
def converted_errors(root: Path | str) -> Iterator[None]:
    """Convert the errors of DVC in the block; those of files without a name, in the project at `root`.

    Raises:
        DvcFailed: DVC could not do it, or not with a file of this kind.
        PipelineInvalid: a parameter has a value that DVC cannot record.
        OutputError: a file cannot be read or written.
    """
    try:
        yield
    except DvcException as error:
        raise DvcFailed(describe_error(error)) from error
    except (sqlite3.Error, DiskError, TypeError) as error:
        if failed := failed_library(error):
            raise failed from error
        raise
    except UnicodeEncodeError as error:
        raise DvcFailed(
            f"DVC cannot record {error.object!r}: the name is not UTF-8; rename the file, or list it in .dvcignore"
        ) from error
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path(root)
        if os.path.islink(path) and not os.path.exists(path):  # noqa: PTH110, PTH114 - pathlib raises for long paths
            target = _printable(path.readlink())
            raise DvcFailed(
                f"{_printable(path)} is a link to {target}, which does not exist; remove it, or list it in .dvcignore"
            ) from error
        raise OutputError(_printable(path), error) from error
    except Exception as error:
        if type(error).__module__.startswith(REMOTE_LIBRARIES):
            raise DvcFailed(f"DVC cannot reach a file of another machine: {describe_error(error)}") from error
        raise


def _printable(path: Path) -> str:
    """Return the path as text without the surrogates that stand for bytes beyond UTF-8, which JSON cannot have."""
    return bytes(path).decode(errors="backslashreplace")


def describe_error(error: BaseException) -> str:
    """Return the messages of an error and of its causes, each once, without secrets."""
    messages: list[str] = []
    for cause in _causes(error):
        message = " ".join(str(cause).split()) or type(cause).__name__
        if not any(message in earlier for earlier in messages):
            messages.append(message)
    return mask(": ".join(messages))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and the exceptions that led to it, as a traceback would show them."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def unusable_value(place: str, error: TypeError) -> PipelineInvalid:
    """Return the error of a parameter with a value that DVC cannot record, as a date, by the message of `error`."""
    found = UNSUPPORTED.search(str(error)) or NO_JSON.search(str(error))
    if found is None:
        return PipelineInvalid(
            f"{place} has a key that is no text, or keys of several types; write all of its keys in quotes"
        )
    remedy = "a list" if found["type"] in ("set", "frozenset") else "text, in quotes"
    return PipelineInvalid(
        f"{place} is a {found['type']}, expected text, a number, true, false, null, a list or a mapping; write it as "
        f"{remedy}"
    )


def failed_library(error: Exception) -> InkflowError | None:
    """Return the error for the user of an error of DVC or its libraries that no module has converted; None for others.

    A damaged database of hashes is removed: it is a cache, which DVC fills again. One that the machine does not let
    DVC read or write stays.
    """
    if isinstance(error, TypeError):
        found = UNSUPPORTED.search(str(error))
        return unusable_value(found["place"], error) if found else None
    if not isinstance(error, DiskError | sqlite3.Error):
        return DvcFailed(f"DVC cannot use the project: {describe_error(error)}")
    folder, code = _database_folder(error), getattr(error, "sqlite_errorcode", None)
    reason = mask(describe_error(error))[:MAX_REASON]  # a part of a secret would not be found
    if code is not None and code & 0xFF in OF_THE_MACHINE:  # the low byte: SQLite's code without its details
        return DvcFailed(
            f"DVC's {f'database of file hashes {folder}' if folder else 'databases'} cannot be used: {reason}; free "
            "disk space, raise the limits (ulimit), or fix the permissions of .dvc/tmp and of DVC's site cache "
            "(`dvc config core.site_cache_dir`), then run again"
        )
    if folder is None or (code is None and not isinstance(error, DiskError)):  # without a code: wrong use, a fault here
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return DvcFailed(f"DVC's database of file hashes {folder} was damaged ({reason}), and is removed: run again")


def _database_folder(error: Exception) -> str | None:
    """Return the folder of the database in which an error was raised."""
    owners = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((str(owner.directory) for owner in owners if isinstance(owner, Cache)), None)


def unusable_parameter(stage: DvcStage) -> PipelineInvalid | None:
    """Return the error of the first parameter with a value that is no JSON."""
    for dep in stage.params:
        for key, value in (dep.hash_info.value or {}).items():
            try:
                json.dumps(value, sort_keys=True)
            except TypeError as error:
                return unusable_value(f"{dep}: {key}", error)
    return None
