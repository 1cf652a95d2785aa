"""Backups that cannot be made or restored: no earlier output is lost, and the stage can run again."""

from pathlib import Path

import pytest

from flows.core.errors import StageFailed
from flows.engine import output_backup
from flows.engine.policy import Policies
from stages.base.errors import OutputError
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import RecordingDisplay, outcomes, run_as_planned, status, succeeded

LONGEST = 4095  # bytes of a path on Linux
OUTSIDE = "训练" * 30  # 540 bytes where it is quoted
ANCHORS = "first: &a {x: 1, y: [1, 2]}\nsecond: *a\nthird: &b {z: 1}\nfourth: *b\n"
PARALLEL = """
stages:
  other: {{cmd: cp in other, deps: [in], {params}, outs: [other]}}
  a: {{cmd: "{command}", deps: [in], params: [third, fourth], outs: [a]}}
"""


def deep_path(folder: Path) -> str:
    """Returns a path below `folder` that has no room for the folders of a backup around it."""
    room = LONGEST - 60 - len(str(folder))  # of a name that DVC gives a temporary file beside it
    names = ["d" * 99] * (room // 100)
    return "/".join([*names, "d" * max(1, room - 100 * len(names) - 3), "b"])


@pytest.mark.parametrize("fault", ["a file in the way", "a path that is too long"])
def test_backup_that_fails(toy: Toy, fault: str) -> None:
    """Where a backup fails at once, or after the first output, no command runs and all outputs are where they were."""
    name, deep = "s" * 50, deep_path(toy.folder) if fault == "a path that is too long" else "b"
    command = f"echo >> s.runs; mkdir -p $(dirname {deep}); cp in a; cp in {deep}"
    toy.write({"dvc.yaml": f"stages:\n  {name}: {{cmd: {command}, deps: [in], outs: [a, {deep}]}}\n", "in": "one\n"})
    succeeded(run_engine())
    toy.write({"in": "two\n"})
    if fault == "a file in the way":
        output_backup.FOLDER.rmdir()
        output_backup.FOLDER.touch()
    display = RecordingDisplay()
    assert isinstance(run_engine(display=display).error, OutputError)
    assert (toy.read("a"), toy.read(deep), toy.runs("s"), display.notes) == ("one\n", "one\n", 1, [])
    assert not output_backup.has_backups(toy.folder)
    toy.write({"in": "one\n"})
    assert set(outcomes(succeeded(run_engine())).values()) == {"unchanged"}


def test_output_outside_with_a_long_name(toy: Toy) -> None:
    """An output outside of the project is backed up and restored, however long its path is as one name."""
    stage = f"stages:\n  s: {{cmd: cp in ../{OUTSIDE}%s, deps: [in], outs: [../{OUTSIDE}: {{cache: false}}]}}\n"
    toy.write({"dvc.yaml": stage % "", "in": "one\n"})
    succeeded(run_engine())
    toy.write({"dvc.yaml": stage % "; exit 1", "in": "two\n"})
    assert isinstance(run_engine().error, StageFailed)
    assert toy.read(f"../{OUTSIDE}") == "one\n"


def test_clean_up_that_fails(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt restores what a clean-up could not restore; its error is a note, that of the stage is told."""
    stage = "stages:\n  s: {cmd: 'echo >> s.runs; cp in a; cp in b; exit %s', deps: [in], outs: [a, b]}\n"
    toy.write({"dvc.yaml": stage % 0, "in": "one\n"})
    run_as_planned()
    toy.write({"dvc.yaml": stage % 75, "in": "two\n"})
    remove, failures = output_backup.remove_path, [PermissionError(13, "Permission denied", "a")]

    def fail_once(path: Path) -> None:
        if path.name == "a" and failures:
            assert path.parent == toy.folder
            raise failures.pop()
        remove(path)

    monkeypatch.setattr(output_backup, "remove_path", fail_once)
    display = RecordingDisplay()
    run = run_engine(display=display, policies=Policies.model_validate({"stages": {"s": {"retries": 1}}}))
    assert isinstance(run.error, StageFailed)
    assert (toy.read("a"), toy.read("b"), toy.runs("s")) == ("one\n", "one\n", 3)
    (note,) = display.notes
    assert note.startswith("s: its outputs could not be cleaned up: ") and "Permission denied" in note
    assert not output_backup.has_backups(toy.folder)


def test_aliases_of_another_stage(toy: Toy) -> None:
    """A record of another stage numbers the aliases in dvc.lock anew: the output of a failed stage is restored."""
    toy.write(
        {"dvc.yaml": PARALLEL.format(params="params: []", command="cp in a"), "params.yaml": ANCHORS, "in": "1\n"}
    )
    succeeded(run_engine())
    before = toy.read("dvc.lock").partition("  a:\n")[2]
    wait = "echo half > a; until grep -q first: dvc.lock; do sleep 0.05; done; exit 1"
    toy.write({"dvc.yaml": PARALLEL.format(params="params: [first, second]", command=wait)})
    assert list(run_engine(jobs=2).errors) == ["a"]
    after = toy.read("dvc.lock").partition("  a:\n")[2]
    assert before != after and "id002" in after
    assert toy.read("a") == "1\n"
    toy.write({"dvc.yaml": PARALLEL.format(params="params: [first, second]", command="cp in a")})
    assert set(outcomes(succeeded(run_engine())).values()) == {"unchanged"}
    assert status() == {}


def test_entry_that_is_gone(tmp_path: Path) -> None:
    """A backup is restored where dvc.lock has lost the stage's entry, as by a checkout: nobody has recorded it anew."""
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    cmd: cp in a\n")
    (tmp_path / "a").write_text("old")
    output_backup.backup_outputs(tmp_path, "a", ["a"])
    (tmp_path / "dvc.lock").unlink()
    output_backup.restore_all(tmp_path)
    assert (tmp_path / "a").read_text() == "old"
