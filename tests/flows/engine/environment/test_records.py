"""The record of the environment of each result: in environment.lock, in the cache, and what a stage makes of it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.core.errors import PolicyInvalid
from flows.engine.environment import stage_environment
from flows.engine.environment.grades import Difference
from flows.engine.environment.records import HISTORY, LOCK, EnvironmentRecords
from flows.engine.environment.stage_environment import StageEnvironment, notices
from stages.base.errors import InvalidInput

ONE, TWO = {"out": "1"}, {"out": "2"}
HERE = {"python": "3.11.1"}


@pytest.fixture
def records(tmp_path: Path) -> EnvironmentRecords:
    """The records of a project with an empty cache."""
    (tmp_path / "cache").mkdir()
    return EnvironmentRecords(tmp_path, tmp_path / "cache")


def again(folder: Path) -> EnvironmentRecords:
    """Returns the records as another process reads them."""
    return EnvironmentRecords(folder, folder / "cache")


def test_an_entry_holds_for_its_outputs_alone(records: EnvironmentRecords, tmp_path: Path) -> None:
    """The environment is that of the recorded outputs; of other outputs nothing is known."""
    assert records.of("a", ONE) == {} and records.names() == set()
    assert records.put("a", ONE, HERE | {"numpy": "2"})
    assert records.of("a", ONE) == again(tmp_path).of("a", ONE) == HERE | {"numpy": "2"}
    assert records.of("a", TWO) == {} and records.of("b", ONE) == {}
    assert records.names() == {"python", "numpy"}


def test_only_a_change_is_written(records: EnvironmentRecords, tmp_path: Path) -> None:
    """The same entry again changes nothing; an empty environment removes the entry, and nothing where there is none."""
    assert not records.put("a", ONE, {})
    assert not (tmp_path / LOCK).exists()
    assert records.put("a", ONE, HERE) and not records.put("a", ONE, HERE)
    assert records.put("a", TWO, HERE) and records.put("b", ONE, HERE)
    assert records.put("a", TWO, {}) and not records.put("a", TWO, {})
    assert list(json.loads((tmp_path / LOCK).read_text())) == ["b"]
    assert records.put("b", ONE, {})
    assert (tmp_path / LOCK).read_text() == "{}\n"


def test_a_line_for_each_stage_in_order(records: EnvironmentRecords, tmp_path: Path) -> None:
    """The file is sorted, with a line for each stage, so that git merges it."""
    for stage in "bca":
        records.put(stage, ONE, {"z": "1", "a": "2"})
    lines = (tmp_path / LOCK).read_text().splitlines()
    assert [line[1:2] for line in lines[1:-1]] == list("abc")
    assert re.fullmatch(r'"a": \{"outputs": "[0-9a-f]{32}", "a": "2", "z": "1"\},', lines[1])


def test_what_another_process_wrote_is_read(records: EnvironmentRecords, tmp_path: Path) -> None:
    """A changed file is read again, a removed one too, and a write keeps the entries of others."""
    records.put("a", ONE, HERE)
    again(tmp_path).put("b", ONE, HERE)
    assert records.of("b", ONE) == HERE
    records.put("c", ONE, HERE)
    assert set(json.loads((tmp_path / LOCK).read_text())) == {"a", "b", "c"}
    (tmp_path / LOCK).unlink()
    assert records.of("a", ONE) == {}


def test_the_cache_remembers_each_result(records: EnvironmentRecords, tmp_path: Path) -> None:
    """A result that was made before keeps the environment of its making, under any stage; `put` adds none."""
    assert records.add("a", ONE, HERE)
    assert records.add("a", TWO, {"python": "3.12.1"})
    assert records.of("a", ONE) == HERE
    assert records.of("a", TWO) == {"python": "3.12.1"}
    (tmp_path / LOCK).unlink()
    assert records.of("a", TWO) == {"python": "3.12.1"}
    assert len(list((tmp_path / "cache" / HISTORY).iterdir())) == 2
    records.put("b", {"out": "3"}, HERE)
    assert len(list((tmp_path / "cache" / HISTORY).iterdir())) == 2
    assert not records.add("c", {"out": "4"}, {})
    assert len(list((tmp_path / "cache" / HISTORY).iterdir())) == 2


@pytest.mark.parametrize("text", ["{", "[1]", "3", pytest.param("[" * 100_000, id="nested")])
def test_a_damaged_entry_of_the_cache_says_nothing(records: EnvironmentRecords, tmp_path: Path, text: str) -> None:
    """What the cache cannot tell is not known."""
    records.add("a", ONE, HERE)
    (tmp_path / LOCK).unlink()
    (entry,) = (tmp_path / "cache" / HISTORY).iterdir()
    entry.write_text(text)
    assert records.of("a", ONE) == {}


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """Without a folder for it, the record beside dvc.lock is enough."""
    records = EnvironmentRecords(tmp_path, tmp_path / "none")
    assert records.add("a", ONE, HERE)
    assert records.of("a", ONE) == HERE
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "environment.lock cannot be read .*git checkout environment.lock"),
        ("[]", "expected an object with an object for each stage"),
        ('{"a": 1, "b": {}}', "expected an object with an object for each stage"),
        ("{}\n<<<<<<< ours\n", "merge conflict"),
    ],
)
def test_a_damaged_record_is_named(records: EnvironmentRecords, tmp_path: Path, text: str, message: str) -> None:
    """A record that cannot be read is an error that says what to do; nothing is overwritten."""
    (tmp_path / LOCK).write_text(text)
    for act in (lambda: records.of("a", ONE), lambda: records.put("a", ONE, HERE)):
        with pytest.raises(InvalidInput, match=message):
            act()
    assert (tmp_path / LOCK).read_text() == text


def test_an_empty_record_is_none(records: EnvironmentRecords, tmp_path: Path) -> None:
    """An empty file is read as one without entries."""
    (tmp_path / LOCK).write_text("")
    assert records.of("a", ONE) == {}


SETTINGS: Mapping[str, Mapping[str, str]] = {
    "rerun": {"policy": "rerun", "python": "minor"},
    "warn": {"python": "minor"},
    "none": {},
    "unknown": {"no-such-package": "exact", "policy": "warn"},
    "known": {"jax": "exact", "processor": "report", "python": "exact", "pytest": "major"},
}


@pytest.fixture
def environment(tmp_path: Path) -> StageEnvironment:
    """Stages with different settings, by name; the outputs ONE of all are recorded with an old Python."""
    (tmp_path / "cache").mkdir()
    records = again(tmp_path)
    for stage in ("rerun", "warn", "none"):
        records.put(stage, ONE, {"python": "2.7.18"})
    return StageEnvironment(tmp_path, tmp_path / "cache", SETTINGS.__getitem__)


def test_what_a_stage_makes_of_its_record(environment: StageEnvironment) -> None:
    """An old environment is a difference for the stages that name it, and refuses a result under `rerun` alone."""
    assert [item.recorded for item in environment.differences("warn", ONE)] == ["2.7.18"]
    assert environment.differences("none", ONE) == () == environment.differences("warn", TWO)
    assert not environment.allows("rerun", ONE)
    assert environment.allows("warn", ONE) and environment.allows("none", ONE) and environment.allows("rerun", TWO)


def test_a_result_whose_environment_must_be_known(environment: StageEnvironment) -> None:
    """Where the environment must be known, a result without a record is refused."""
    assert environment.allows("warn", ONE, is_known=True)
    assert not environment.allows("warn", TWO, is_known=True)
    assert not environment.allows("rerun", ONE, is_known=True)


def test_recording_and_restoring(environment: StageEnvironment, tmp_path: Path) -> None:
    """A run records the present environment, a restored result has that of its making, if it is known."""
    assert environment.record("rerun", TWO) and not environment.record("rerun", TWO)
    assert environment.allows("rerun", TWO, is_known=True)
    recorded = again(tmp_path).of("rerun", TWO)
    assert set(recorded) == {"python"} and recorded["python"] != "2.7.18"
    assert environment.record("rerun", ONE)
    assert environment.restore("rerun", TWO) and not environment.restore("rerun", TWO)
    assert again(tmp_path).of("rerun", TWO) == recorded
    assert environment.restore("none", ONE)
    assert environment.restore("warn", {"out": "unknown"})
    assert set(json.loads((tmp_path / LOCK).read_text())) == {"rerun"}


def test_a_package_that_nobody_knows(environment: StageEnvironment, tmp_path: Path) -> None:
    """A name that is neither installed nor recorded is a mistake; what Inkflow's stages use may be missing."""
    environment.check(["known", "warn", "none"])
    with pytest.raises(PolicyInvalid, match=r"no package 'no-such-package' is installed; .*install it, or remove"):
        environment.check(["known", "unknown"])
    again(tmp_path).put("gone", ONE, {"no-such-package": "1"})
    environment.check(["unknown"])


def test_a_known_package_may_be_missing(environment: StageEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that Inkflow's own stages use is compared although it is not installed."""
    monkeypatch.setattr(stage_environment, "KNOWN", {"no-such-package"})
    environment.check(["unknown"])


def test_notices_name_up_to_three_stages() -> None:
    """The same difference of several stages is one notice, which names three of them."""
    found = {name: (Difference("python", "3.10", "3.11", "minor", "warn"),) for name in "abcd"}
    for count, names in ((1, "a was"), (3, "a, b, c were"), (4, "a, b, c and 1 more were")):
        (notice,) = notices(dict(list(found.items())[:count]))
        assert notice.startswith(f"python 3.10 → 3.11 since {names} recorded")
    rerun, warn, told = (Difference("python", "3.10", "3.11", "minor", name) for name in ("rerun", "warn", "report"))
    assert [notice[-32:] for notice in notices({"a": (rerun, warn, told)})] == [
        " `inkflow run --force` makes them here"[-32:], " differ from those that dvc.lock names"[-32:],
    ]  # fmt: skip


def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    """A temporary file in the cache of a process that has ended goes with the next opening; records stay."""
    folder = tmp_path / "cache" / HISTORY
    folder.mkdir(parents=True)
    (folder / f".{'a' * 32}-4999999.tmp").touch()
    (folder / ("b" * 32)).touch()
    EnvironmentRecords(tmp_path, tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["b" * 32]
