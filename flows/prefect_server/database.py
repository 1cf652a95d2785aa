"""The SQLite database of a Prefect server: its URL, and damage, on which the server ends with a traceback."""

import math
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from urllib.parse import quote

from flows.core.notices import note_once
from stages.base.errors import InvalidInput

DATABASE_FILE = "prefect.db"
PARTS = ("", "-wal", "-shm")
DAMAGED = ".damaged"
MAX_CHECKED = 50_000_000  # bytes: the check reads all of them before a run, 0.2 s


def database_url(database: Path) -> str:
    """Returns the URL of an SQLite database for Prefect, with `?`, `%` and `#` of the path quoted."""
    return f"sqlite+aiosqlite:///{quote(str(database))}"


def damage(database: Path, max_bytes: float = MAX_CHECKED) -> str | None:
    """Returns what SQLite finds wrong with a database; None if nothing, or if there is none, or one above `max_bytes`.

    A sound database that this machine cannot use now is not damaged: locked, on a full disk, without a free file.
    """
    if not database.is_file() or database.stat().st_size > max_bytes:
        return None
    try:
        with closing(sqlite3.connect(database)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else " ".join(found.removeprefix("*** in database main ***").split())


def check_undamaged(database: Path) -> None:
    """Checks a database of any size that only a person may rename or replace, such as that of `inkflow up`.

    An empty file, which for SQLite is a new database, is one that the server's first start left, or a lost one.

    Raises:
        InvalidInput: It is damaged.
    """
    if database.is_file() and database.stat().st_size == 0:
        note_once(f"the database {database} is empty: the server begins a new one; put a copy back if there were runs")
    if reason := damage(database, math.inf):
        raise InvalidInput(
            f"the database {database} is damaged ({reason}); put a copy of it back, or rename it: then the next start "
            "begins a new one, without the earlier runs"
        )


def set_aside(database: Path) -> Path:
    """Renames a database, so that the server makes a new one; returns its new path, at which no file was.

    Raises:
        OSError: the folder cannot be written.
    """
    names = (f"{database.name}{DAMAGED}{f'-{number}' if number > 1 else ''}" for number in count(1))
    name = next(name for name in names if not any(database.with_name(name + part).exists() for part in PARTS))
    for part in PARTS:
        path = database.with_name(database.name + part)
        if path.exists():
            path.replace(database.with_name(name + part))
    return database.with_name(name)
