"""Records of runs: what they keep of stages that run, fail or are killed, and what `report --runs` reads of them."""

import json
import math
import resource
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from flows.core.errors import StageFailed
from flows.dvc_repo.history.facts import read_facts
from flows.engine import run_record
from flows.engine.run_record import FOLDER, MAX_RECORDS, RunRecord, adopt_records, kept_records, read_records
from flows.engine.stamps import next_stamp
from flows.engine.types import Outcome, Result, Stage
from stages.base.digests import sealed, unsealed
from stages.base.errors import InkflowError
from tests.conftest import Toy, run_engine

COMMIT = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm"]


def commit(message: str) -> None:
    """Commits all files of the current folder."""
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run([*COMMIT, message], check=True)


def test_seconds_belong_to_the_version_that_the_run_made(diamond: Toy) -> None:
    """A commit has the seconds of the run that made its outputs; what it shares with the one before is cached."""
    diamond.write({".gitignore": "/.inkflow\n*.runs\n"})
    run_engine()
    commit("first")
    diamond.write({"params.yaml": "knobs: {speed: 2}\n"})
    run_engine()
    commit("faster")
    first, second = read_facts(diamond.folder)["versions"]
    assert first["state"] == "ran" and first["seconds"] > 0 and not any(s["cached"] for s in first["stages"])
    stages = {stage["name"]: stage for stage in second["stages"]}
    assert stages["source"]["state"] == "ran" and "knobs.speed 1 → 2" in stages["source"]["reasons"]
    assert second["record"] != first["record"] and second["seconds"] is not None


def test_a_failed_run_is_a_row(diamond: Toy) -> None:
    """A run without a result has its cause, the last lines of the stage with the path of its log, and what stopped."""
    diamond.write({".gitignore": "/.inkflow\n*.runs\n"})
    commit("first")
    text = diamond.read("dvc.yaml").replace("cp in out", "echo working; echo broken input >&2; exit 3")
    diamond.write({"dvc.yaml": text})
    run_engine()
    row = read_facts(diamond.folder)["versions"][-1]
    assert (row["kind"], row["state"]) == ("run", "failed") and "exit code 3" in row["title"]
    stages = {stage["name"]: stage for stage in row["stages"]}
    assert stages["source"]["state"] == "failed" and stages["join"]["state"] == "not run"
    assert "broken input" in stages["source"]["lines"]
    assert "working" in (diamond.folder / stages["source"]["log"]).read_text()


def test_a_failed_run_knows_params_yaml_alone(diamond: Toy) -> None:
    """The record of a run has params.yaml: parameters of other files are neither changed nor less constant."""
    text = diamond.read("dvc.yaml")
    diamond.write({".gitignore": "/.inkflow\n*.runs\n", "config.json": '{"depth": 3, "width": {"x": 1}}'})
    diamond.write({"dvc.yaml": f"{text}params: [config.json]\n", "params.yaml": "knobs: {speed: 1, size: 1}\n"})
    commit("first")
    broken = text.replace("cp in out", "exit 3")
    diamond.write({"dvc.yaml": f"{broken}params: [config.json]\n", "params.yaml": "knobs: {speed: 2, size: 1}\n"})
    run_engine()
    facts = read_facts(diamond.folder)
    row = facts["versions"][-1]
    assert row["state"] == "failed" and row["changed"] == {"knobs.speed": [1, 2]}
    constants = {"config.json:depth": 3, "config.json:width.x": 1, "knobs.size": 1}
    assert facts["constants"].items() >= constants.items() and "knobs.speed" not in facts["constants"]


def test_states_of_records(tmp_path: Path) -> None:
    """A record without an end is killed if its process is gone; damaged lines are left out."""
    record = RunRecord(tmp_path, ["b"])
    record.begin([Stage("a"), Stage("b")])
    record.ended(Result("a", Outcome.UNCHANGED), None)
    assert read_records(tmp_path) == []  # nothing ran yet
    record.started("b")
    assert read_records(tmp_path)[0]["state"] == "running"
    path = next((tmp_path / FOLDER).glob("*.jsonl"))
    begin, *others = path.read_text().splitlines()
    other_process = sealed(unsealed(json.loads(begin)) | {"pid": 99999999})
    path.write_text("\n".join([json.dumps(other_process), *others, "{half a li", ""]))
    assert read_records(tmp_path)[0]["state"] == "killed"
    (tmp_path / FOLDER / "20200101T000000-1-1.jsonl").write_text("no JSON\n")
    assert len(read_records(tmp_path)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"at": math.inf},
        {"at": math.nan},
        {"at": -1},
        {"at": 1e12},
        {"at": 10**400},
        {"at": "now"},
        {"stages": 5},
        {"stages": "source"},
        {"reasons": 5},
        {"reasons": [5]},
        {"lines": {"a": 1}},
        {"not_run": 5},
    ],
)
def test_lines_with_impossible_values_are_damaged(diamond: Toy, damage: dict[str, object]) -> None:
    """A line whose time is none, or whose lists are none, is left out; the other lines and records are shown."""
    diamond.write({".gitignore": "/.inkflow\n*.runs\n"})
    commit("first")
    folder = diamond.folder / FOLDER
    folder.mkdir(parents=True)
    begin = {"event": "begin", "at": 1_700_000_000.0, "stages": ["source"], "pid": 10**30, "process": "1"}
    failed = {"event": "failed", "at": 1_700_000_001.0, "stage": "source", "error": "broken", "not_run": ["join"]}
    ended = failed | {"event": "ended", "stage": "left"} | damage
    (folder / "20260101T000000-1-1.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (begin, failed, ended)))
    (folder / "20260101T000000-1-2.jsonl").write_text(json.dumps(begin | damage) + "\n")
    row = read_facts(diamond.folder)["versions"][-1]
    assert row["record"] == "20260101T000000-1-1" and [stage["name"] for stage in row["stages"]] == ["source"]
    assert len(read_records(diamond.folder)) == 1


@pytest.mark.parametrize("pid", [math.inf, "a", None, 10**30])
def test_the_record_of_an_impossible_process(diamond: Toy, pid: object) -> None:
    """A record whose process has no possible id, and parameters that no file can hold, is of a killed run."""
    diamond.write({".gitignore": "/.inkflow\n*.runs\n"})
    commit("first")
    begin = {"event": "begin", "at": 1_700_000_000, "pid": pid, "process": "1", "params": "a: \ud800"}
    (diamond.folder / FOLDER).mkdir(parents=True)
    (diamond.folder / FOLDER / "20260101T000000-1-1.jsonl").write_text(json.dumps(begin) + "\n")
    assert read_facts(diamond.folder)["versions"][-1]["state"] == "killed"


def test_records_of_a_trial_come_from_its_clone(tmp_path: Path) -> None:
    """A trial's record is copied from its clone with the name of its experiment, its logs too."""
    clone, root = tmp_path / "clone", tmp_path / "root"
    record = RunRecord(clone, [])
    record.begin([Stage("a")])
    record.started("a")
    record.line("a", "a line")
    record.failed("a", InkflowError("a failed"), [])
    adopt_records(clone, root, "rate=0.1")
    found = read_records(root)[0]
    assert (found["trial"], found["experiment"], found["state"]) == ("rate=0.1", "", "failed")
    assert (root / found["events"][1]["log"]).read_text() == "a line\n"


def test_records_of_a_clone_do_not_pile_up(tmp_path: Path) -> None:
    """The number of records is bounded for those of clones too; a clone whose run fails leaves its record."""
    clone, root = tmp_path / "clone", tmp_path / "root"
    (root / FOLDER).mkdir(parents=True)
    for number in range(MAX_RECORDS + 5):
        (root / FOLDER / f"20200101T{number:06d}-1-1.jsonl").write_text(json.dumps({"event": "begin", "at": 1}) + "\n")
    (root / FOLDER / ".20200101T000000-1-1-7.tmp.jsonl").write_text("a part, of a killed copy")
    with pytest.raises(LookupError), kept_records(clone, root):
        RunRecord(clone, []).started("a")
        raise LookupError
    names = sorted(path.name for path in (root / FOLDER).iterdir())
    assert len(names) == MAX_RECORDS and names[0] == "20200101T000006-1-1.jsonl"
    assert read_records(root)[-1]["experiment"] == "" and not names[-1].startswith("2020")


def test_a_run_that_another_one_replaces_has_not_failed(diamond: Toy) -> None:
    """The first pass of a run with a fallback data set is no failure in the list of runs."""
    text = diamond.read("dvc.yaml")
    diamond.write({".gitignore": "/.inkflow\n*.runs\n", "dvc.yaml": text.replace("cp in out", "exit 3")})
    commit("first")
    run = run_engine()
    assert read_facts(diamond.folder)["versions"][-1]["state"] == "failed"
    run.reset()
    assert [record["state"] for record in read_records(diamond.folder)] == ["done"]
    assert "failed" not in [row["state"] for row in read_facts(diamond.folder)["versions"]]


def test_facts_have_no_copy_of_the_records(diamond: Toy) -> None:
    """The facts have what a row shows of a run, not all its events; a restored version is found by its dvc.lock."""
    diamond.write({".gitignore": "/.inkflow\n*.runs\n/out\n/left\n/right\n/joined\n"})
    run_engine()
    commit("first")
    assert set(read_facts(diamond.folder)) == {"form", "project", "versions", "constants", "sweeps", "files"}
    shutil.rmtree(diamond.folder / FOLDER)
    for name in ("out", "left", "right", "joined"):
        (diamond.folder / name).unlink()
    run_engine()
    assert [row["state"] for row in read_facts(diamond.folder)["versions"]] == ["restored"]


def test_old_records_are_removed(tmp_path: Path) -> None:
    """The number of records is bounded; the oldest go first."""
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for number in range(MAX_RECORDS + 5):
        (folder / f"20200101T{number:06d}-1-1.jsonl").write_text(json.dumps({"event": "begin", "at": 1}) + "\n")
    RunRecord(tmp_path, []).started("a")
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == MAX_RECORDS and names[0] == "20200101T000006-1-1.jsonl"


def test_after_the_clock_went_back_a_new_record_is_still_the_newest(tmp_path: Path) -> None:
    """Records with later times are removed before that of this run; names without a time count for nothing."""
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for number in range(MAX_RECORDS - 1):
        stamp = f"29990101T{number // 60:02d}{number % 60:02d}59"
        (folder / f"{stamp}-1-1.jsonl").write_text(json.dumps({"event": "begin", "at": 1}) + "\n")
    (folder / "99999999T999999-1-1.jsonl").write_text("")
    for stage in ("a", "b", "c"):
        RunRecord(tmp_path, [stage]).started(stage)
    assert [event["stage"] for record in read_records(tmp_path) for event in record["events"]] == ["a", "b", "c"]


def test_times_in_names_never_go_back() -> None:
    """The latest time that is there is the least; the second after it is in the next day or year where that is so."""
    names = ["20261231-235959-7.log", "notes.log", "20261301-000000-7.log"]
    assert next_stamp("%Y%m%d-%H%M%S", "20260101-000000", names) == "20270101-000000"
    assert next_stamp("%Y%m%d-%H%M%S", "20261231-235959", names) == "20261231-235959"
    assert next_stamp("%Y%m%d-%H%M%S", "20260101-000000", []) == "20260101-000000"


@pytest.mark.parametrize("lost", ["first", "later"])
def test_a_full_disk_costs_one_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """An event that has no room is left out as a whole; the next ones are recorded, with the beginning of the run."""
    notes: list[str] = []
    monkeypatch.setattr(run_record, "note_once", notes.append)
    record = RunRecord(tmp_path, [])
    stages = ["a", "b", "c"]
    full = stages[0 if lost == "first" else 1]
    for stage in stages:
        size = sum(path.stat().st_size for path in (tmp_path / FOLDER).glob("*.jsonl"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10 if stage == full else soft, hard))  # a short write
        try:
            record.started(stage)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (found,) = read_records(tmp_path)
    assert [event["stage"] for event in found["events"]] == [stage for stage in stages if stage != full]
    assert len(notes) == 1 and "not recorded" in notes[0] and "No space left" in notes[0]


def test_stages_that_start_at_once_begin_one_record(toy: Toy) -> None:
    """A record has one beginning, however many stages start in the same moment, and an event for each of them."""
    record, count = RunRecord(toy.folder, []), 8
    barrier, errors = threading.Barrier(count), []

    def start(number: int) -> None:
        barrier.wait()
        try:
            record.started(f"s{number}")
        except Exception as error:  # noqa: BLE001 - any would end the run
            errors.append(error)

    threads = [threading.Thread(target=start, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (path,) = (toy.folder / FOLDER).glob("*.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["event"] for event in events] == ["begin"] + ["started"] * count
    assert {event["stage"] for event in events[1:]} == {f"s{number}" for number in range(count)}


def test_a_record_that_cannot_be_written_raises_nothing(tmp_path: Path) -> None:
    """A run does not fail because of its record."""
    (tmp_path / FOLDER.parts[0]).write_text("a file in place of the folder")
    record = RunRecord(tmp_path, [])
    record.begin([Stage("a")])
    record.started("a")
    record.failed("a", InkflowError("a failed"), [])
    record.end()
    assert read_records(tmp_path) == []


@pytest.mark.parametrize("code", [-9, -11, 137, 139])
def test_a_signal_is_no_failure_of_the_program(tmp_path: Path, code: int) -> None:
    """A stage that a signal ended is killed, as the terminal says, whichever signal it was."""
    record = RunRecord(tmp_path, [])
    record.begin([Stage("a")])
    record.started("a")
    record.failed("a", StageFailed("a", code, []), [])
    assert read_records(tmp_path)[0]["state"] == "killed"
