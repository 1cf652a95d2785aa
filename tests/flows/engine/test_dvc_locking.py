"""Other processes that use DVC during a run: the run waits for them, logs that, and the wait can be interrupted."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.rwlock import rwlock

from flows.core.errors import Interrupted
from flows.core.file_lock import exclusive_lock
from flows.dvc_repo.locking import cache_lock_path
from flows.dvc_repo.repository import Repository
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.helpers import RecordingDisplay, outcomes, status, succeeded
from tests.support.dvc_calls import configure

# `&&`: when the sleep is terminated, the stage must not write its output.
PAIR = """
stages:
  a: {{cmd: echo >> a.runs; sleep {a} && cat in > a, deps: [in], outs: [a]}}
  b: {{cmd: echo >> b.runs; sleep {b} && cat a > b, deps: [a], outs: [b]}}
"""
LOCK = "from dvc.repo import Repo; r = Repo(); r.lock.lock(); print('held', flush=True); input()"
# These two do what DVC does, without its import.
READ = """
import json, os, pathlib
path = pathlib.Path(".dvc/tmp/rwlock")
content = json.loads(path.read_text())
content.setdefault("read", {})[os.path.abspath("a")] = [{"pid": os.getpid(), "cmd": "a reader"}]
path.write_text(json.dumps(content))
print("held", flush=True)
input()
"""
WRITE = """
import zc.lockfile
lock = zc.lockfile.LockFile(".dvc/tmp/lock")
text = open("dvc.lock").read()
with open("dvc.lock", "w") as file:
    file.write(text[:9])
    file.flush()
    print("held", flush=True)
    input()
    file.write(text[9:])
"""


@contextmanager
def locking_process(program: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs another process that holds a lock of DVC until it gets a line of input or the block ends."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running_engine() -> Iterator[tuple[Engine, Run, RecordingDisplay]]:
    """Starts an engine on the project in the current folder, and interrupts it at the end of the block."""
    display = RecordingDisplay()
    run, repository = Run(options=Options(jobs=1), display=display), Repository()
    engine = Engine(repository, Policies(), run)
    engine.start(repository.stages())
    try:
        yield engine, run, display
    finally:
        engine.interrupt()
        engine.close()


@pytest.mark.farm
@pytest.mark.parametrize("slow", ["a", pytest.param("b", marks=pytest.mark.farm)])
def test_beside_dvc_repro(toy: Toy, slow: str) -> None:
    """While `dvc repro` runs a stage, that stage waits for it, and so does a stage that writes its input."""
    toy.write({"dvc.yaml": PAIR.format(**{"a": 0, "b": 0, slow: 4}), "in": "one\n"})
    with subprocess.Popen(["dvc", "repro", "-q"], stderr=subprocess.PIPE, text=True) as repro:
        wait_until((toy.folder / f"{slow}.runs").exists, timeout_s=60)
        toy.write({"in": "one\n" if slow == "a" else "two\n"})
        results = succeeded(run_engine())
        _, err = repro.communicate(timeout=240)
    assert repro.returncode == 0, err
    assert results["a"].outcome is (Outcome.UNCHANGED if slow == "a" else Outcome.RAN)
    assert toy.runs("a") == (1 if slow == "a" else 2)
    assert toy.read("b") == toy.read("in")
    assert status() == {}


def test_lock_file_that_is_being_written(toy: Toy) -> None:
    """A dvc.lock of which `dvc` has written a part is read when it is complete; it is no error and not removed."""
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    succeeded(run_engine())
    with locking_process(WRITE) as writer:
        timer = threading.Timer(0.5, writer.communicate, ["\n"])
        timer.start()
        results = succeeded(run_engine())
        timer.join()
    assert set(outcomes(results).values()) == {Outcome.UNCHANGED}


def test_recording_waits(toy: Toy) -> None:
    """The recording of a stage waits for a process that reads its output all the same, and then succeeds."""
    toy.write({"dvc.yaml": PAIR.format(a="0; while ! test -e go; do sleep 0.1; done", b=0), "in": "one\n"})
    with running_engine() as (engine, run, display):
        wait_until((toy.folder / "a.runs").exists, timeout_s=60)
        with locking_process(READ) as reader:
            toy.write({"go": ""})
            wait_until(lambda: any(note.startswith("a waits: ") and "a reader" in note for note in display.notes), 60)
            reader.communicate("\n")
            list(engine.events())
    assert outcomes(succeeded(run)) == {"a": Outcome.RAN, "b": Outcome.RAN}
    assert status() == {}


def test_files_that_only_dvc_finds_in_use(toy: Toy) -> None:
    """A stage waits, and says so, while DVC refuses its files although no other process uses them."""
    toy.write({"dvc.yaml": PAIR.format(a="0; while ! test -e go; do sleep 0.1; done", b=0), "in": "one\n"})
    with running_engine() as (engine, run, display), Repo() as repo:
        wait_until((toy.folder / "a.runs").exists, timeout_s=60)
        with rwlock(repo.tmp_dir, repo.fs, "a thread", [str(toy.folder / "b")], [], False):
            toy.write({"go": ""})
            wait_until(lambda: any(note.startswith("b waits: ") and "a thread" in note for note in display.notes), 60)
        list(engine.events())
    assert outcomes(succeeded(run)) == {"a": Outcome.RAN, "b": Outcome.RAN}
    assert status() == {}


@pytest.mark.farm
def test_wait_is_logged_and_interrupted(toy: Toy) -> None:
    """A wait for DVC's lock is logged once, and an interrupt ends it."""
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    with locking_process(LOCK), running_engine() as (engine, run, display):
        wait_until(lambda: bool(display.notes), timeout_s=60)
        engine.interrupt()  # the other process holds the lock until the end of the block
    assert display.notes == ["a waits: another process holds DVC's lock"]
    assert isinstance(run.error, Interrupted)
    assert not (toy.folder / "a.runs").exists()


@pytest.mark.farm
def test_interrupt_while_the_lock_is_held(toy: Toy) -> None:
    """An interrupt waits for a limited time for DVC's lock, and the next run restores the earlier outputs."""
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    succeeded(run_engine())
    toy.write({"dvc.yaml": PAIR.format(a=60, b=0), "in": "two\n"})
    with running_engine() as (engine, run, _):
        wait_until(lambda: toy.runs("a") == 2, timeout_s=60)
        with locking_process(LOCK):
            interrupt = threading.Thread(target=engine.interrupt)
            interrupt.start()
            interrupt.join(240)
            assert not interrupt.is_alive()
    assert isinstance(run.error, Interrupted)
    assert not (toy.folder / "a").exists()
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    assert set(outcomes(succeeded(run_engine())).values()) == {Outcome.UNCHANGED}
    assert toy.read("a") == "one\n"


def test_shared_cache_in_use(toy: Toy, tmp_path: Path) -> None:
    """A wait for a project with the same cache is logged, leaves DVC's own lock free, and an interrupt ends it."""
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    configure("cache", {"dir": str(tmp_path / "c")}, "local")
    with exclusive_lock(cache_lock_path(tmp_path / "c")), running_engine() as (engine, run, display):
        wait_until(lambda: bool(display.notes), timeout_s=60)
        assert set(status()) == {"a", "b"}  # it gives up after three seconds without the lock
        engine.interrupt()
    assert display.notes == ["a waits: another project works in the shared cache"]
    assert isinstance(run.error, Interrupted)


def test_mode_of_a_lock_file(tmp_path: Path) -> None:
    """Whoever can use a cache can use its lock file, whatever the umask of the one who made it."""
    tmp_path.chmod(0o775)
    before = os.umask(0o077)
    try:
        with exclusive_lock(tmp_path / "inkflow.lock"):
            assert (tmp_path / "inkflow.lock").stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


def test_lock_file_of_another_user(tmp_path: Path) -> None:
    """A user can lock a file that another user made and that is read-only to it, as in a cache that a group shares."""
    path = tmp_path / "inkflow.lock"
    path.touch(0o444)
    lock = f"with exclusive_lock(Path({str(path)!r})): print('held')"
    command = [
        sys.executable,
        "-c",
        f"from pathlib import Path; from flows.core.file_lock import exclusive_lock\n{lock}",
    ]
    if not path.stat().st_uid:  # root can write to every file, unless it drops that capability
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"
