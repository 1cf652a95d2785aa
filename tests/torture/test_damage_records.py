"""Damaged records that Inkflow keeps for its own commands: of rollbacks, own data, searches, servers, downloads."""

import os
import random
from pathlib import Path

import pytest

from tests.support.root import ROOT
from tests.torture.conftest import Rounds, Try
from tests.torture.promises import Promise
from tests.torture.support.damage import DAMAGES, problem, write_damage
from tests.torture.support.forked import Forked, Outcome, forking
from tests.torture.support.records_made import RECORDS, Record, begun_downloads
from tests.torture.support.snapshot import Snapshot

SEED = 17
FEW = 3  # kinds of records in `make test-farm`


@pytest.mark.farm
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_damaged_record_is_named_or_not_needed(
    tmp_path: Path, promise: Try, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command on a damaged record names it, or shows and makes the same; where it fails it has changed nothing."""
    sentence = "A damaged record of an earlier command is named in one sentence, or the next one does the same without."
    chance, many = random.Random(SEED), rounds(0, 1)
    monkeypatch.setenv("INKFLOW_TEST_RUNS", "")  # restored after the test
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    environment |= {"KERAS_HOME": str(tmp_path / "keras")}
    with forking(tmp_path / "texts", environment) as inkflow, begun_downloads() as downloads:
        records = RECORDS | {"begun downloads": downloads}
        how = f"a bit flipped, cut short or emptied: {', '.join(records)}; and the commands that read them"
        with promise("Damaged files", sentence, how) as tried:
            for name, record in records.items() if many else chance.sample([*records.items()], FEW):
                folder = tmp_path / name / "project"
                folder.mkdir(parents=True)
                monkeypatch.chdir(folder)
                record.make(folder, inkflow)
                _try(tried, name, record, inkflow, [*DAMAGES] if many else [chance.choice([*DAMAGES])])


def _try(tried: Promise, name: str, record: Record, inkflow: Forked, ways: list[str]) -> None:
    """Damages each file of a record in some ways, and runs each of its readers on it."""
    folder, chance = Path.cwd(), random.Random(SEED)
    snapshot = Snapshot(folder, folder.parent / "snapshot")
    files = [path for path in sorted(folder.glob(record.pattern)) if path.is_file()]
    assert files, f"no file: {record.pattern}"
    for reader, read in record.readers.items():
        before = record.made(folder)
        undamaged = read(folder, inkflow)
        made = record.made(folder)
        snapshot.restore()
        for path, way in ((path, way) for path in files for way in ways):
            old = path.read_bytes()
            new = DAMAGES[way](old, chance)
            if new == old:
                continue
            with tried.attempt(f"{name}, {path.name} {way}, {reader}, attempt {tried.attempts}"):
                write_damage(path, new)
                outcome = read(folder, inkflow)
                names = (path.name, str(path.relative_to(folder)), *record.called)
                found = problem(outcome, undamaged, names) or _changed(outcome, record.made(folder), before, made)
                assert found is None, f"{found}: {new!r}"
            snapshot.restore()


def _changed(outcome: Outcome, now: object, before: object, made: object) -> str | None:
    """Returns what is wrong with what a command has made: it makes what it makes without damage, or fails before."""
    return None if now == made or (outcome.code and now == before) else f"it has made something else: {outcome}"
