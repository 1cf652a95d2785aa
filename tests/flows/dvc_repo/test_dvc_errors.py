"""Errors of DVC's databases: damage is told from what the machine does not let SQLite do."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from dvc_data.hashfile.cache import Cache

from flows.core.errors import DvcFailed
from flows.dvc_repo.dvc_errors import converted_errors, describe_error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database as DVC has them, with one value, in a folder with a name as in a message about a full disk."""
    folder = tmp_path / "readonly full locked"
    with closing(Cache(str(folder))) as cache:
        cache["key"] = ["a value that is pickled"]
    return folder


def change(folder: Path, sql: str) -> None:
    """Changes the database by hand."""
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute(sql)
        database.commit()


def without_table(folder: Path) -> None:
    """Uses an open database, one of whose tables is lost."""
    with closing(Cache(str(folder))) as cache:
        change(folder, "DROP TABLE Cache")
        cache["key"]


def with_other_format(folder: Path) -> None:
    """Opens a database whose header names a format that SQLite does not know."""
    content = (folder / "cache.db").read_bytes()
    (folder / "cache.db").write_bytes(content[:44] + bytes([0, 0, 0, 9]) + content[48:])
    Cache(str(folder))


def with_other_value(folder: Path) -> None:
    """Reads a value that is not pickled."""
    change(folder, "UPDATE Cache SET value = X'FF'")
    with closing(Cache(str(folder))) as cache:
        cache["key"]


@pytest.mark.parametrize("use", [without_table, with_other_format, with_other_value])
def test_a_damaged_database_is_removed(folder: Path, use: Callable[[Path], None]) -> None:
    """Damage is found by its kind, whatever SQLite's class for it and the folder's name are; the next use works."""
    with pytest.raises(DvcFailed, match=r"was damaged .*and is removed: run again"), converted_errors(folder):
        use(folder)
    with closing(Cache(str(folder))) as cache:
        assert "key" not in cache


def test_a_locked_database_stays(folder: Path) -> None:
    """A database that another process holds is not damaged: it stays, and the sentence says what to do."""
    file = folder / "cache.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other, closing(Cache(str(folder), timeout=0)) as cache:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DvcFailed, match="cannot be used: database is locked; free"), converted_errors(folder):
            cache._sql("UPDATE Cache SET mode = mode")
        other.execute("COMMIT")
        assert "key" in cache


def test_an_error_of_another_database_is_not_its_own_cause(tmp_path: Path) -> None:
    """An error of SQLite that is none of DVC goes on as it is, so that its causes have an end."""
    database = sqlite3.connect(tmp_path / "x.db")
    database.close()
    with pytest.raises(sqlite3.ProgrammingError) as raised, converted_errors(tmp_path):
        database.execute("SELECT 1")
    assert raised.value.__cause__ is None
    assert describe_error(raised.value) == "Cannot operate on a closed database."
