"""`dvc` in another terminal while stages of a run are running: no command runs twice, and no output has two writers."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.dvc_repo.recovery import recover
from flows.engine import output_backup
from flows.engine.planning.plan import Verdict
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.helpers import counts, dvc_repro, make_plan, status, succeeded
from tests.flows.engine.test_interruption import engine_process, slow
from tests.support.commands import run_python
from tests.support.root import ROOT

RUN = [sys.executable, "-m", "flows", "run", "--no-server"]
BUSY = "is busy, it is being blocked by"  # DVC's words for a file in its `rwlock`; it does not wait
HELD = """
stages:
  a: {cmd: "echo >> a.runs; while ! test -e go; do sleep 0.1; done; cat in > a", deps: [in], outs: [a]}
  b: {cmd: echo >> b.runs; cat a > b, deps: [a], outs: [b]}
"""


@contextmanager
def started(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """Starts a command in the current folder, and kills it at the end of the block."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def in_use(folder: Path) -> dict[str, list[str]]:
    """Returns the files that DVC's `rwlock` lists as read and as written."""
    path = folder / ".dvc/tmp/rwlock"
    content = json.loads(path.read_text() or "{}") if path.exists() else {}
    return {kind: sorted(Path(name).name for name in content.get(kind, {})) for kind in ("read", "write")}


def test_files_of_a_running_stage(toy: Toy) -> None:
    """While a stage runs, `dvc` commands that would use its files fail as beside another `dvc`, and change nothing."""
    toy.write({"dvc.yaml": HELD, "in": "one\n"})
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(run_engine)
        try:
            wait_until((toy.folder / "a.runs").exists, timeout_s=120)
            assert in_use(toy.folder) == {"read": ["in"], "write": ["a"]}
            for command in ("repro", "status"):
                answer = run_python("-m", "dvc", command)
                assert answer.returncode != 0
                assert f"'{toy.folder / 'a'}' {BUSY}:\n  (PID {os.getpid()})" in answer.stderr
        finally:
            toy.write({"go": ""})
        succeeded(run.result(240))
    assert counts(toy.folder) == {"a": 1, "b": 1}
    assert in_use(toy.folder) == {"read": [], "write": []}
    assert status() == {}


@pytest.mark.farm
def test_entries_of_a_killed_run(toy: Toy) -> None:
    """After kill -9 of a run, `dvc repro` removes its entries as those of a killed `dvc`, and runs the stage."""
    toy.write({"dvc.yaml": HELD, "in": "one\n"})
    with started(*RUN) as run:
        wait_until((toy.folder / "a.runs").exists, timeout_s=120)
        run.kill()
    wait_until(lambda: not psutil.pid_exists(run.pid), timeout_s=60)
    toy.write({"go": ""})
    repro = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=False)
    assert repro.returncode == 0, repro.stderr
    assert "had been killed" in repro.stderr
    assert (toy.runs("a"), toy.read("b")) == (2, "one\n")
    assert in_use(toy.folder)["write"] == []


@pytest.mark.farm
def test_newer_outputs_after_a_kill_are_kept(toy: Toy) -> None:
    """Outputs that `dvc repro` makes after a killed run are not overwritten with the backup of that run."""
    toy.write(slow(0.1))
    succeeded(run_engine(jobs=2))
    toy.write(slow(30) | {"in": "two\n"})
    with engine_process(toy.folder) as engine:
        wait_until(lambda: toy.runs("slow-p") == 2, timeout_s=60)
        engine.kill()
    toy.write(slow(0.1) | {"in": "two\n"})
    dvc_repro(toy.folder)
    assert output_backup.has_backups(toy.folder)
    recover(toy.folder)
    assert toy.read("p") == "p\ntwo\n"
    assert {decision.verdict for decision in make_plan().values()} == {Verdict.UNCHANGED}
    assert not output_backup.has_backups(toy.folder)


@pytest.mark.farm
def test_one_round(toy: Toy) -> None:
    """`dvc repro` and `inkflow run` on the same stages at once run each command once."""
    play_rounds(toy, 1)


@pytest.mark.farm
@pytest.mark.timeout(1800)
def test_twenty_rounds(toy: Toy) -> None:
    """The same in 20 rounds, with either of the two first and random offsets; both often end without an error."""
    codes = play_rounds(toy, 20)
    assert 0 in codes


def play_rounds(toy: Toy, rounds: int) -> list[int]:
    """Starts `dvc repro` and `inkflow run` at random offsets, and checks each round; returns DVC's exit codes."""
    dice, codes = random.Random(rounds), []
    for number in range(1, rounds + 1):
        toy.write(slow(dice.uniform(0.1, 1.0)) | {"in": f"{number}\n"})
        commands = [["dvc", "repro"], RUN]
        dice.shuffle(commands)
        with started(*commands[0]) as first:
            time.sleep(dice.uniform(0.0, 4.0))
            with started(*commands[1]) as second:
                outputs = [process.communicate(timeout=240)[0] for process in (first, second)]
        by_command = dict(
            zip([command[0] for command in commands], zip((first, second), outputs, strict=True), strict=True)
        )
        (repro, said), (run, shown) = by_command["dvc"], by_command[RUN[0]]
        assert run.returncode == 0, shown
        assert repro.returncode == 0 or BUSY in said, said
        codes.append(repro.returncode)
        assert set(counts(toy.folder).values()) == {number}, (outputs, counts(toy.folder))
        assert toy.read("last") == f"p\n{number}\nq\n{number}\n"
        assert status() == {}
    return codes
