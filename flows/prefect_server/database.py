"""Damage of the SQLite database of a Prefect server, on which the server would end with a traceback, or fail later."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

DATABASE_FILE = "prefect.db"
PARTS = ("", "-wal", "-shm")
DAMAGED = ".damaged"
MAX_CHECKED = 50_000_000  # bytes: the check reads all of them before a run, 0.2 s
REASON = re.compile(r"^(?:sqlite3|sqlalchemy|alembic)[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)  # in a log


def damage(database: Path) -> str | None:
    """Returns what SQLite finds wrong with a database; None if nothing, or if there is none, or a very large one."""
    if not database.is_file() or database.stat().st_size > MAX_CHECKED:
        return None
    try:
        with closing(sqlite3.connect(database)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return None if "locked" in str(error) else str(error)
    return None if found == "ok" else " ".join(found.removeprefix("*** in database main ***").split())


def damage_in_log(log: Path) -> str | None:
    """Returns the error of its database with which a server ended, from its log; None if it had another reason."""
    try:
        found = REASON.findall(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return " ".join(str(found[-1]).split())[:200] if found else None


def set_aside(database: Path) -> None:
    """Renames a database, so that the server makes a new one; an earlier damaged one is removed.

    Raises:
        OSError: the folder cannot be written.
    """
    for part in PARTS:
        path = database.with_name(database.name + part)
        if path.exists():
            path.replace(database.with_name(database.name + DAMAGED + part))
        else:
            database.with_name(database.name + DAMAGED + part).unlink(missing_ok=True)
