"""Others at work in DVC at the same time: they are waited for, that is said, and the wait can be ended."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.core.errors import Interrupted
from flows.dvc_repo.repository import Repository
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.toys import Heard, outcomes, status, succeeded

PAIR = """
stages:
  a: {{cmd: echo >> a.runs; sleep {a}; cat in > a, deps: [in], outs: [a]}}
  b: {{cmd: echo >> b.runs; sleep {b}; cat a > b, deps: [a], outs: [b]}}
"""
LOCK = "from dvc.repo import Repo; r = Repo(); r.lock.lock(); print('held', flush=True); input()"
READ = """
import pathlib, sys, time
from dvc.repo import Repo
from dvc.rwlock import rwlock
r = Repo()
with rwlock(r.tmp_dir, r.fs, "a reader", [str(pathlib.Path("a").absolute())], [], False):
    print("held", flush=True)
    time.sleep(3)
"""


@contextmanager
def other(program: str) -> Iterator[None]:
    """Another process that holds something of DVC's, from the start of the block to its end at the latest."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.kill()


@contextmanager
def engine_at_work() -> Iterator[tuple[Engine, Run, Heard]]:
    """An engine that was started on the project in the current folder."""
    heard = Heard()
    run, repository = Run(options=Options(jobs=1), display=heard), Repository()
    engine = Engine(repository, Policies(), run)
    engine.start(repository.stages())
    try:
        yield engine, run, heard
    finally:
        engine.interrupt()
        engine.close()


@pytest.mark.parametrize("slow", ["a", "b"])
def test_beside_dvc_repro(toy: Toy, slow: str) -> None:
    """`dvc repro` runs a stage: that stage, and one that writes what it reads, wait for it and go on from there."""
    toy.write({"dvc.yaml": PAIR.format(**{"a": 0, "b": 0, slow: 4}), "in": "one\n"})
    with subprocess.Popen(["dvc", "repro", "-q"], stderr=subprocess.PIPE, text=True) as repro:
        wait_until((toy.folder / f"{slow}.runs").exists, timeout_s=60)
        toy.write({"in": "one\n" if slow == "a" else "two\n"})
        results = succeeded(run_engine())
        _, said = repro.communicate(timeout=60)
    assert repro.returncode == 0, said
    assert results["a"].outcome is (Outcome.RESTORED if slow == "a" else Outcome.RAN)
    assert toy.runs("a") == (1 if slow == "a" else 2)
    assert toy.read("b") == toy.read("in")
    assert status() == {}


def test_recording_waits(toy: Toy) -> None:
    """A reader of an output keeps the stage from being recorded only until it is done."""
    toy.write({"dvc.yaml": PAIR.format(a=2, b=0), "in": "one\n"})
    with engine_at_work() as (engine, run, heard):
        wait_until((toy.folder / "a.runs").exists, timeout_s=60)
        with other(READ):
            list(engine.events())
    assert outcomes(succeeded(run)) == {"a": Outcome.RAN, "b": Outcome.RAN}
    assert any(note.startswith("a waits: ") and "a reader" in note for note in heard.notes), heard.notes
    assert status() == {}


def test_wait_is_said_and_ended(toy: Toy) -> None:
    """Another process holds DVC's lock: one note says so, and an end that is asked for ends the wait."""
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    with other(LOCK), engine_at_work() as (engine, run, heard):
        wait_until(lambda: bool(heard.notes), timeout_s=30)
        started = time.monotonic()
        engine.interrupt()
        assert time.monotonic() - started < 8
    assert heard.notes == ["a waits: another process holds DVC's lock"]
    assert isinstance(run.error, Interrupted)
    assert not (toy.folder / "a.runs").exists()


def test_end_while_the_lock_is_held(toy: Toy) -> None:
    """A stage is ended while another process keeps DVC's lock: the wait has a limit, and the next run clears up."""
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    succeeded(run_engine())
    toy.write({"dvc.yaml": PAIR.format(a=60, b=0), "in": "two\n"})
    with engine_at_work() as (engine, run, _):
        wait_until(lambda: toy.runs("a") == 2, timeout_s=30)
        with other(LOCK):
            ending = threading.Thread(target=engine.interrupt)
            ending.start()
            ending.join(30)
            assert not ending.is_alive()
    assert isinstance(run.error, Interrupted)
    assert not (toy.folder / "a").exists()
    toy.write({"dvc.yaml": PAIR.format(a=0, b=0), "in": "one\n"})
    assert set(outcomes(succeeded(run_engine())).values()) == {Outcome.UNCHANGED}
    assert toy.read("a") == "one\n"


def test_lock_file_of_another_user(tmp_path: Path) -> None:
    """A cache is shared by a group: the lock file that one user made, and another may only read, is held by both."""
    path = tmp_path / "inkflow.lock"
    path.touch(0o444)
    take = f"with one_at_a_time(Path({str(path)!r})): print('held')"
    command = [
        sys.executable,
        "-c",
        f"from pathlib import Path; from flows.core.file_lock import one_at_a_time\n{take}",
    ]
    if not path.stat().st_uid:  # root may write anything: without that power it is as another user is
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"
