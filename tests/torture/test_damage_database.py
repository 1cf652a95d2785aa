"""The database of `inkflow up`, damaged while it is stopped: the next start names it, or works."""

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from flows.prefect_server.credentials import HOME
from flows.prefect_server.database import DATABASE_FILE
from tests.conftest import Toy
from tests.support.root import ROOT
from tests.support.up_process import running_up, starting_up
from tests.torture.conftest import Rounds, Try
from tests.torture.support.damage import DAMAGES, write_damage

SEED = 17
DEPLOYMENTS = """
deployments:
  - name: nightly
    entrypoint: flows.scheduled.scheduled
    work_pool: {name: local}
"""
TEXT = "replaced by text"
REFUSED = ("cut short", TEXT)  # SQLite finds these, wherever the cut is; a flipped bit can be in a value
NEW = ("emptied",)  # for SQLite an empty file is a new database
LEFT = {"cut short": 2, "emptied": 1, TEXT: 1, "a bit flipped in front": 2, "a bit flipped": 6}  # in `make torture`


@pytest.fixture
def stopped(toy: Toy, tmp_path: Path) -> Path:
    """The database of an `inkflow up` that has completed a run and was stopped."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: cp in a, deps: [in], outs: [a]}}\n", "in": "one\n"})
    toy.write({"prefect.yaml": DEPLOYMENTS, "workers/process.json": (ROOT / "workers/process.json").read_text()})
    with running_up(toy.folder, tmp_path / "first.log") as up:
        up.wait_for(up.start("inkflow/nightly"), "Completed")
    database = toy.folder / HOME / DATABASE_FILE
    with closing(sqlite3.connect(database)) as connection:  # or the log beside it would have the pages that are damaged
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.farm
@pytest.mark.timeout(3600)
def test_a_damaged_database_of_up(stopped: Path, tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Each start on a damaged database ends with one sentence that names it, or works; the copy put back works."""
    sentence = "`inkflow up` names its damaged database in one sentence and leaves it as it is, or works with it."
    chance, whole, did = random.Random(SEED), stopped.read_bytes(), Counter[str]()
    few = {"cut short": 1, TEXT: 1, "a bit flipped": 1}
    ways = [way for way, number in (LEFT if rounds(0, 1) else few).items() for _ in range(number)]
    with promise("Damaged files", sentence, "") as tried:
        for number, way in enumerate(ways):
            content = b"no database\n" * 1000 if way == TEXT else DAMAGES[way](whole, chance)
            with tried.attempt(f"{way}, attempt {number}, seed {SEED}"):
                does = _start(stopped, content, tmp_path / f"{number}.log")
                did[f"{way}: {does}"] += 1
                assert does == "named" or way not in REFUSED, does
                assert does == "works" or way not in NEW, does
        with tried.attempt("the copy put back"):
            _put(stopped, whole)
            with running_up(stopped.parents[2], tmp_path / "copy.log") as up:
                assert [run["state_name"] for run in up.runs("nightly")] == ["Completed"]
        tried.how = ", ".join(f"{what} ({times})" for what, times in sorted(did.items())) + "; the copy put back"


def _start(database: Path, content: bytes, log: Path) -> str:
    """Starts `inkflow up` on a damaged database; returns whether the database was named or works."""
    _put(database, content)
    with starting_up(database.parents[2], log) as up:
        code = up.process.poll()
        if code is None:
            assert up.count_runs().is_success, up.output
    said = up.output
    assert "Traceback" not in said, said
    assert (" is empty: the server begins a new one" in said) == (not content), said
    if code is None:
        return "works"
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code > 0 and len(errors) == 1 and str(HOME / DATABASE_FILE) in errors[0], said
    if " is damaged (" in errors[0]:
        assert database.read_bytes() == content, "it was changed"
        return "named"
    return "named once the server has failed"


def _put(database: Path, content: bytes) -> None:
    """Writes the database, without the log of the last server."""
    for part in ("-wal", "-shm"):
        database.with_name(database.name + part).unlink(missing_ok=True)
    write_damage(database, content)
