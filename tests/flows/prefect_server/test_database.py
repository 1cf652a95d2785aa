"""The database of temporary servers: a damaged one costs no run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.prefect_server.database import DATABASE_FILE, damage
from flows.prefect_server.server import HOME, Server


def database(path: Path) -> Path:
    """Writes a database with a table of Prefect's migrations, which no version of Prefect knows."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('no such revision')")
        connection.execute("CREATE TABLE numbers (value)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(3000)])
        connection.commit()
    return path


def test_damage_is_found(tmp_path: Path) -> None:
    """A missing, new or sound database is in order; one that is cut, or no database, has a reason."""
    path = tmp_path / "home" / DATABASE_FILE
    assert damage(path) is None
    content = database(path).read_bytes()
    assert damage(path) is None
    for damaged in (content[:5000], b"no database" * 1000, content[:100] + bytes(4000) + content[4100:]):
        path.write_bytes(damaged)
        assert damage(path)
    path.write_bytes(b"")
    assert damage(path) is None


@pytest.mark.server
@pytest.mark.parametrize("is_cut", [True, False])
def test_a_temporary_server_renames_a_damaged_database(
    tmp_path: Path, is_cut: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server starts with a new database, and one sentence names the damaged one, which is kept."""
    path = database(tmp_path / HOME / DATABASE_FILE)
    if is_cut:
        path.write_bytes(path.read_bytes()[:5000])
    old = path.read_bytes()
    with Server(tmp_path) as server:
        server.wait_until_ready()
        assert server.responds()
    assert f"{path} was damaged" in capsys.readouterr().err
    assert path.with_name(f"{DATABASE_FILE}.damaged").read_bytes()[:16] == old[:16]  # the server has changed its mode
