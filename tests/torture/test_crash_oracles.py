"""The helpers of the tests of crashes: what they find after a kill or a fault, and that the faults come about."""

import fcntl
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.torture.support import crash_project, kills
from tests.torture.support.crash_project import CrashProject
from tests.torture.support.crash_toy import make_toy
from tests.torture.support.kills import BLOCK, Campaign
from tests.torture.support.leftovers import OBJECTS, damage, locks, suspended
from tests.torture.support.machine_faults import DAY_S, Clock, limited
from tests.torture.support.quick_check import QuickCheck


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CrashProject:
    """A small project after an undisturbed run."""
    scratch = tmp_path_factory.mktemp("made")
    return replace(make_toy(scratch), folder=scratch / "reference")


@pytest.mark.farm
def test_a_record_of_other_outputs_is_found(made: CrashProject, tmp_path: Path) -> None:
    """A plain run takes the outputs that dvc.lock names for right, and --force heals it: the plain run is first."""
    project = made.copy(tmp_path / "project")
    output, lock = project.folder / "prepared", project.folder / "dvc.lock"
    content = output.read_bytes()
    right = hashlib.md5(content, usedforsecurity=False).hexdigest()
    text = lock.read_text().replace(right, _add(project.folder, b"old")).replace(f"size: {len(content)}", "size: 3")
    lock.write_text(text)
    output.write_bytes(b"old")
    assert "in a copy: other bytes: " in project.flaws_of_copy(after_force=True)
    assert "other bytes: prepared" in project.last_flaws(after_force=True)
    assert project.wrong_results() == []


def test_wrong_bytes_of_a_run_that_ends_right_are_found(
    made: CrashProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose exit code is 0 has made the outputs, and nothing is left to do."""
    monkeypatch.setattr(crash_project, "RUN", (sys.executable, "-c", "pass"))
    monkeypatch.setattr(kills, "MOST_ENDED", 0)
    project = made.copy(tmp_path / "project")
    for content, found in ((None, ""), (b"wrong", "other bytes: prepared")):
        if content:
            (project.folder / "prepared").write_bytes(content)
        campaign = Campaign(project, {"prepare": ["flow"]}, random.Random(0))
        campaign.disturb()
        [*flaws, last] = campaign.problems
        assert "ended before" in last and bool(flaws) == bool(found), campaign.problems
        assert found in "".join(flaws) and ("dvc status" in "".join(flaws)) == bool(found)


@pytest.mark.farm
def test_only_a_checkpoint_of_a_killed_forced_run_may_stay(
    made: CrashProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the next training; a plain run, and the last one with --force, leave none of their own."""
    project = made.copy(tmp_path / "project")
    (project.folder / ".inkflow/checkpoints").mkdir()
    make = "import sys; open('.inkflow/checkpoints/' + sys.argv[1], 'w')"
    monkeypatch.setattr(crash_project, "RUN", (sys.executable, "-c", make))
    assert "left behind: " in project.flaws("one", after_force=True)
    assert project.flaws("one", after_force=True) == ""
    assert "checkpoints/one" in project.flaws("two") and "checkpoints/two" in project.flaws("two")


@pytest.mark.parametrize("planned", [1, 3, BLOCK, 3 * BLOCK])
def test_a_copy_of_each_block_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: int) -> None:
    """One of each so many disturbed runs has a copy, and its flaws are those of the run."""
    monkeypatch.setattr(CrashProject, "flaws_of_copy", lambda _, after_force: "flaw")
    campaign = Campaign(CrashProject(tmp_path, {}, 1), {"train": ["flow"] * planned}, random.Random(planned))
    found = []
    while campaign.plan["train"]:
        campaign.plan["train"].pop()
        found.append(campaign._flaws_of_copy())
        campaign.ends["right"] += 1
    assert found.count("flaw") == campaign.judged == -(-planned // BLOCK)


def test_a_project_is_copied_while_its_processes_stand(tmp_path: Path) -> None:
    """The files of the copy are of one moment; the processes go on after it."""
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        found = psutil.Process(process.pid)
        with suspended(tmp_path):
            assert found.status() == psutil.STATUS_STOPPED
        assert found.status() != psutil.STATUS_STOPPED
        process.kill()


@pytest.mark.parametrize(
    ("code", "log", "found"),
    [
        (0, "", None),
        (0, "Traceback (most recent call last):", "a traceback"),
        (1, "error: x\n", None),
        (1, "", "exit code 1 with 0 sentences"),
        (1, "error: x\nerror: y\n", "exit code 1 with 2 sentences"),
        (-signal.SIGKILL, "", None),
        (-signal.SIGABRT, "memory allocation of 320000 bytes failed\n", None),
        (-signal.SIGABRT, "double free or corruption\n", "the run died of signal 6"),
        (-signal.SIGSEGV, "memory allocation of 320000 bytes failed\n", "the run died of signal 11"),
    ],
)
def test_how_a_disturbed_run_may_end(tmp_path: Path, code: int, log: str, found: str | None) -> None:
    """Right, with one sentence, by a kill, or by a library's abort that says that it got no memory."""
    campaign = Campaign(CrashProject(tmp_path, {}, 1.0), {}, random.Random(1))
    said = "".join(campaign._judged(log, code, ("memory", "train")))
    assert said == "" if found is None else found in said


def test_a_plan_that_is_not_carried_out_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends before the planned stage leaves the plan, and another run follows, up to a bound."""
    monkeypatch.setattr(kills, "MOST_ENDED", 1)
    campaign = Campaign(CrashProject(tmp_path, {}, 1), {"train": ["flow"]}, random.Random(0))
    campaign.disturb()
    assert campaign.plan == {"train": ["flow"]} and not campaign.done
    assert campaign.problems[-1].startswith("2 runs ended before anything was done; left: {'train': ['flow']}")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A project whose dvc.lock names a folder and two files, of which dvc.yaml keeps one out of the cache."""
    text = "stages:\n  a:\n    foreach: [x]\n    do:\n      cmd: make\n      outs: [folder, file]\n"
    (tmp_path / "dvc.yaml").write_text(f"{text}      metrics:\n        - ${{item}}/m.json:\n            cache: false\n")
    file = _add(tmp_path, b"file")
    folder = _add(tmp_path, json.dumps([{"md5": _add(tmp_path, b"member"), "relpath": "member"}]).encode(), ".dir")
    outs = {"folder": folder, "file": file, "x/m.json": 32 * "0"}
    entries = "".join(f"    - path: {path}\n      md5: {digest}\n" for path, digest in outs.items())
    (tmp_path / "dvc.lock").write_text(f"stages:\n  a@x:\n    cmd: make\n    outs:\n{entries}")
    return tmp_path


@pytest.mark.parametrize(("content", "kind"), [(b"file", "for file"), (b"member", "for folder/member")])
def test_an_object_that_the_cache_lacks_is_found(recorded: Path, content: bytes, kind: str) -> None:
    """Each output of dvc.lock that DVC keeps has its object, a folder those of its files too."""
    assert list(damage(recorded)) == []
    _path(recorded, content).unlink()
    [found] = damage(recorded)
    assert found.startswith("no object ") and found.endswith(kind)


def test_an_empty_cache_is_damage(recorded: Path) -> None:
    """All that dvc.lock names is missing then."""
    shutil.rmtree(recorded / ".dvc/cache")
    assert len(list(damage(recorded))) == 2


@pytest.mark.parametrize("name", [".inkflow/run.queue", ".inkflow/sharing/slot-0", ".inkflow/search/s/owners/1"])
def test_a_lock_of_any_name_is_found(tmp_path: Path, name: str) -> None:
    """Inkflow's locks are not all named so."""
    (tmp_path / name).parent.mkdir(parents=True)
    with (tmp_path / name).open("w") as file:
        assert list(locks(tmp_path)) == []
        fcntl.flock(file, fcntl.LOCK_EX)
        assert list(locks(tmp_path)) == [str(tmp_path / name)]


def test_an_entry_of_files_in_use_is_found(tmp_path: Path) -> None:
    """DVC's list has those of a run of the original in a copy, too, which are no locks of the copy."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    holders = {f"{tmp_path}/out": {"pid": 1}, f"{tmp_path}-original/out": {"pid": 1}, f"{tmp_path}/free": {}}
    (tmp_path / ".dvc/tmp/rwlock").write_text(json.dumps({"write": holders}))
    assert list(locks(tmp_path)) == [f"rwlock: write {tmp_path}/out"]


@pytest.mark.parametrize(
    ("disturb", "found"),
    [
        (lambda folder: _path(folder, b"file").write_bytes(b"other"), "has the MD5"),
        (lambda folder: (folder / "dvc.lock").write_text("stages: ["), "cannot be parsed"),
        (lambda folder: (folder / "dvc.lock").write_text(""), "has no entries"),
        (lambda folder: (folder / OBJECTS / "00").mkdir(), ""),
        (lambda folder: _path(folder, b"file").with_name(".x.tmp").write_bytes(b"half"), ""),
    ],
)
def test_what_a_kill_left_is_found(recorded: Path, disturb: Callable[[Path], object], found: str) -> None:
    """An object with other bytes that is new since the last look, and a dvc.lock that is no record."""
    check = QuickCheck(recorded)
    assert check.flaws() == ""
    disturb(recorded)
    flaws = check.flaws()
    assert found in flaws and bool(flaws) == bool(found), flaws


def test_a_process_that_a_kill_left_is_found(tmp_path: Path) -> None:
    """A process in the folder is told when it stays; while the run is not over it may be there."""
    check = QuickCheck(tmp_path, wait_s=0.1)
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        assert check.flaws().startswith("left running: ") and check.flaws(is_over=False) == ""
        process.kill()
    assert check.flaws() == ""


def test_a_limit_without_a_process_is_no_fault() -> None:
    """A limit has a name, and counts, if one process has it; not if all have ended."""
    with subprocess.Popen(["sleep", "60"]) as process:
        found = psutil.Process(process.pid)
        with limited(lambda: [found], random.Random(0), resource.RLIMIT_NOFILE) as name:
            assert name == "limit of open files" and found.rlimit(resource.RLIMIT_NOFILE)[0] < 40
        process.kill()
    with limited(lambda: [found], random.Random(0), resource.RLIMIT_NOFILE) as name:
        assert name == ""


def test_the_clock_of_a_child_jumps(tmp_path: Path) -> None:
    """The clock of a process that runs goes back by a day, and forward again; that of this process stays."""
    clock = Clock(tmp_path / "clock")
    program = "import sys, time\nfor line in sys.stdin: print(time.time(), flush=True)"
    shell = ["/bin/sh", "-c", '"$@"; true', "sh", sys.executable, "-c", program]  # the child of a child
    with subprocess.Popen(
        shell, env=os.environ | clock.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        told = []
        for _ in range(3):
            process.stdin.write("\n")
            process.stdin.flush()
            told.append(float(process.stdout.readline()))
            clock.jump()
        process.stdin.close()
    assert [round((at - told[0]) / DAY_S, 1) for at in told] == [0, -1, 0]


def _add(folder: Path, content: bytes, suffix: str = "") -> str:
    """Adds an object to the cache; returns its name in dvc.lock."""
    path = _path(folder, content, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.parent.name + path.name


def _path(folder: Path, content: bytes, suffix: str = "") -> Path:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return folder / OBJECTS / digest[:2] / f"{digest[2:]}{suffix}"
