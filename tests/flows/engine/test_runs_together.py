"""Several runs in one folder share the work: each stage runs once, and what does not touch runs at the same time."""

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.core.file_lock import run_lock
from flows.engine.output_backup import has_backups
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.helpers import RecordingDisplay, counts, make_plan, outcomes, status, succeeded
from tests.flows.engine.test_beside_dvc import HELD, RUN, started
from tests.flows.engine.test_interruption import slow
from tests.support.commands import run_python

# Each of the two waits for the other's start, so both end only if they run at the same time.
MEETING = """
stages:
  a: {cmd: "touch a.here; while ! test -e b.here; do sleep 0.1; done; cat in > a", deps: [in], outs: [a]}
  b: {cmd: "touch b.here; while ! test -e a.here; do sleep 0.1; done; cat in in > b", deps: [in], outs: [b]}
"""
# Fails if another stage runs at the same time.
ALONE = """
stages:
  s:
    foreach: [k, l, m, n]
    do:
      cmd: echo >> s-${item}.runs; mkdir busy && sleep 0.2 && rmdir busy && echo ${item} | cat - in > ${item}
      deps: [in]
      outs: ["${item}"]
"""


class LettingGo(RecordingDisplay):
    """Lets the stage `a` of the other run end once this run says that it waits for it."""

    def note(self, text: str) -> None:
        """Makes the file `go`."""
        super().note(text)
        if "a waits: a is being written by another process" in text:
            Path("go").touch()


def run_at_once(*runs: Sequence[str]) -> None:
    """Runs `inkflow run` with each of these arguments at the same time; all must succeed."""
    with ThreadPoolExecutor(len(runs)) as threads:
        done = list(threads.map(lambda arguments: run_python(*RUN[1:], *arguments), runs))
    assert [run.returncode for run in done] == [0] * len(runs), done


@pytest.mark.farm
def test_same_stages(toy: Toy) -> None:
    """Of two runs of the same graph at once, each stage runs in one; the other waits for it and finds it unchanged."""
    toy.write(slow(1))
    with started(*RUN) as one, started(*RUN) as other:
        outputs = [process.communicate(timeout=240)[0] for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    assert set(counts(toy.folder).values()) == {1}
    assert status() == {}


def test_waiting_run_says_so(toy: Toy) -> None:
    """A run that waits for a stage of another run names the file, and then finds the stage unchanged."""
    toy.write({"dvc.yaml": HELD, "in": "one\n"})
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(run_at_once, [])
        wait_until((toy.folder / "a.runs").exists, timeout_s=120)
        run = run_engine("a", display=LettingGo())
        other.result(240)
    assert outcomes(succeeded(run)) == {"a": Outcome.UNCHANGED}
    assert run.summary.startswith("0 of 1 stages ran")
    assert counts(toy.folder) == {"a": 1, "b": 1}


def test_different_stages(toy: Toy) -> None:
    """Runs of stages that share no files but inputs work at the same time; both are recorded."""
    toy.write({"dvc.yaml": MEETING, "in": "one\n"})
    run_at_once(["a"], ["b"])
    assert status() == {}


POLICIES = {
    "slots": ("--jobs=1", ""),
    "mutex": ("--jobs=4", "stages: {'*': {mutex: [folder]}}"),
    "memory": ("--jobs=4", "resources: {memory: 1GiB}\nstages: {'*': {memory: 600MB}}"),
}


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", POLICIES)
def test_shared_resources(toy: Toy, kind: str) -> None:
    """Two runs in one folder share slots, mutexes and memory: where one stage takes all, one runs at a time in all."""
    jobs, policies = POLICIES[kind]
    toy.write({"dvc.yaml": ALONE, "in": "one\n", "execution.yaml": policies})
    run_at_once([jobs, "s@k", "s@l"], [jobs, "s@m", "s@n"])
    assert counts(toy.folder) == {f"s-{name}": 1 for name in "klmn"}
    assert status() == {}


@pytest.mark.farm
def test_killed_run_beside_a_living_one(toy: Toy) -> None:
    """If one of two runs is killed, the other ends its processes, runs its stage again, and keeps its own results."""
    toy.write({"dvc.yaml": HELD, "in": "one\n", "go": ""})
    with started(*RUN, "a") as run:
        assert run.wait(240) == 0
    (toy.folder / "go").unlink()
    toy.write({"in": "two\n"})
    with started(*RUN, "a") as victim:
        wait_until(lambda: toy.runs("a") == 2, timeout_s=120)
        with started(*RUN) as other:
            assert other.stdout is not None
            assert any("a waits: " in line for line in other.stdout)
            assert has_backups(toy.folder)  # of the living run: the other one has left it alone
            victim.kill()
            victim.wait()
            wait_until(lambda: toy.runs("a") == 3, timeout_s=120)
            toy.write({"go": ""})
            output, _ = other.communicate(timeout=240)
    assert other.returncode == 0, output
    assert "a | runs: in changed" in output
    assert toy.read("b") == "two\n"
    assert not has_backups(toy.folder)
    assert status() == {}


def test_run_that_edits_parameters_is_alone(toy: Toy) -> None:
    """A run that may change params.yaml waits for the others, whose inputs it would change; a plain run does not."""
    toy.write({"dvc.yaml": HELD, "in": "one\n", "go": "", "params.yaml": "speed: 1\n"})
    with run_lock(Path(), print, shared=True):
        with started(*RUN, "--set", "speed=2") as run:
            assert run.stdout is not None
            assert "Another run is under way in this folder" in run.stdout.readline()
        assert not Path("b").exists()
        run_at_once([])
    assert Path("b").exists()


def test_plan_beside_a_run(toy: Toy) -> None:
    """A plan does not read the files that a run is writing: it names them, and the process that writes them."""
    toy.write({"dvc.yaml": HELD, "in": "one\n"})
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(run_at_once, [])
        wait_until((toy.folder / "a.runs").exists, timeout_s=120)
        (writer,) = json.loads(toy.read(".dvc/tmp/rwlock"))["write"].values()
        decision = make_plan()["a"]
        toy.write({"go": ""})  # before a check can fail
        run.result(240)
        assert decision.verdict is Verdict.RUN
        assert decision.reasons[0].startswith("a is being written by another process (")
        assert decision.reasons[0].endswith(f"process id {writer['pid']})")
    assert {each.verdict for each in make_plan().values()} == {Verdict.UNCHANGED}


@pytest.mark.farm
def test_round_with_a_kill(toy: Toy) -> None:
    """Two runs of the same graph, of which one is killed at a random moment: the other one completes correctly."""
    play_rounds(toy, 1)


@pytest.mark.farm
@pytest.mark.timeout(1800)
def test_rounds_with_kills(toy: Toy) -> None:
    """The same in 15 rounds with random offsets; in each third round none is killed, and each command runs once."""
    play_rounds(toy, 15)


def play_rounds(toy: Toy, rounds: int) -> None:
    """Starts two runs at a random offset, kills the first one unless the round's number is a multiple of three."""
    dice = random.Random(rounds)
    for number in range(1, rounds + 1):
        before = Counter(counts(toy.folder))
        toy.write(slow(dice.uniform(0.1, 1.0)) | {"in": f"{number}\n"})
        with started(*RUN, "--jobs=2") as first:
            time.sleep(dice.uniform(0.0, 2.0))
            with started(*RUN, "--jobs=2") as second:
                if number % 3:
                    time.sleep(dice.uniform(0.0, 4.0))
                    first.kill()
                outputs = [process.communicate(timeout=240)[0] for process in (first, second)]
        assert second.returncode == 0, outputs
        assert toy.read("last") == f"p\n{number}\nq\n{number}\n"
        assert status() == {}
        assert not has_backups(toy.folder)
        runs = Counter(counts(toy.folder)) - before
        assert set(runs) == {"first", "slow-p", "slow-q", "last"}
        assert max(runs.values()) <= (2 if number % 3 else 1), (runs, outputs)
