"""The databases of `inkflow up` and of temporary servers: their place; a damaged one of the latter costs no run."""

import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.core.errors import ServerUnreachable
from flows.prefect_server.database import DATABASE_FILE, damage, database_url, set_aside
from flows.prefect_server.environment import DATABASE
from flows.prefect_server.server import HOME, Server
from flows.prefect_server.up_settings import Settings, check_database


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


@pytest.mark.parametrize("name", ["plain", "a?b", "x y'z #1 %41", ":memory:", "Größe&mode=memory"])
def test_each_folder_has_its_database(tmp_path: Path, name: str) -> None:
    """Prefect finds the database in the project's folder, with each character that means something in a URL."""
    settings = Settings(tmp_path / name, "127.0.0.1", 4200, None, "", None)
    path = settings.home / DATABASE_FILE
    path.parent.mkdir(parents=True)
    url = settings.server_environment()[DATABASE]
    assert url == database_url(path)
    assert ":memory:" not in url  # for Prefect, a database without a file
    assert "mode=memory" not in url
    check_database(url)
    assert path.exists()
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


@pytest.mark.server
@pytest.mark.farm
def test_a_temporary_server_in_a_folder_with_a_strange_name(tmp_path: Path) -> None:
    """The server responds, and its history is in the folder of the project."""
    root = tmp_path / "x y'z #1 %41?b"
    with Server(root) as server:
        server.wait_until_ready()
        assert server.responds()
    with closing(sqlite3.connect(root / HOME / DATABASE_FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM flow_run").fetchone() == (0,)
    assert [each.name for each in tmp_path.iterdir()] == [root.name]


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


def test_a_limit_of_the_machine_is_no_damage(tmp_path: Path) -> None:
    """A sound database that cannot be opened, since no file is free, is not damaged."""
    path = database(tmp_path / "home" / DATABASE_FILE)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        with pytest.raises(sqlite3.OperationalError), closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT * FROM numbers")
        found = damage(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found is None


def test_no_damaged_database_is_overwritten(tmp_path: Path) -> None:
    """Each database that is set aside gets a name that none has, together with its log."""
    path = tmp_path / DATABASE_FILE
    for number, name in enumerate(("prefect.db.damaged", "prefect.db.damaged-2", "prefect.db.damaged-3")):
        path.write_text(f"{number}")
        path.with_name(f"{DATABASE_FILE}-wal").write_text(f"log of {number}")
        assert set_aside(path) == tmp_path / name
    for number, name in enumerate(("prefect.db.damaged", "prefect.db.damaged-2", "prefect.db.damaged-3")):
        assert (tmp_path / name).read_text() == f"{number}"
        assert (tmp_path / f"{name}-wal").read_text() == f"log of {number}"


@pytest.mark.server
@pytest.mark.farm
def test_a_temporary_server_renames_a_damaged_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The server starts with a new database, and one sentence names the damaged one, which is kept."""
    path = database(tmp_path / HOME / DATABASE_FILE)
    path.write_bytes(path.read_bytes()[:5000])
    old = path.read_bytes()
    with Server(tmp_path) as server:
        server.wait_until_ready()
        assert server.responds()
    assert f"{path} was damaged" in capsys.readouterr().err
    assert path.with_name(f"{DATABASE_FILE}.damaged").read_bytes() == old


@pytest.mark.server
@pytest.mark.farm
def test_a_large_damaged_database_is_renamed_once_the_server_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is too large for the check before a run is checked after the server ended on it."""
    path = database(tmp_path / HOME / DATABASE_FILE)
    path.write_bytes(path.read_bytes()[:5000])
    monkeypatch.setattr("flows.prefect_server.server.MAX_CHECKED", 1000)
    with Server(tmp_path) as server:
        assert path.stat().st_size == 5000
        server.wait_until_ready()
        assert server.responds()
    assert path.with_name(f"{DATABASE_FILE}.damaged").exists()


@pytest.mark.server
@pytest.mark.farm
def test_a_sound_database_of_another_version_stays(tmp_path: Path) -> None:
    """The history of a version of Prefect that this one does not know is not set aside; the error says what to do."""
    path = database(tmp_path / HOME / DATABASE_FILE)
    with Server(tmp_path) as server, pytest.raises(ServerUnreachable, match=f"no such revision.*rename {path}"):
        server.wait_until_ready()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("no such revision",)]
    assert not list(path.parent.glob("*.damaged*"))
