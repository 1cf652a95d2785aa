"""What the engines of one machine share: nothing is given twice, and each stage gets what it asks for in the end."""

import math
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.engine.policy import Policies, StagePolicy
from flows.engine.resources import machine_memory
from flows.engine.scheduler import Allocation
from flows.engine.shared_slots import SharedSlots
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import outcomes, succeeded
from tests.flows.engine.test_beside_dvc import in_use

PAIR = """
stages:
  a: {cmd: echo >> a.runs; cat in > a, deps: [in], outs: [a]}
  b: {cmd: echo >> b.runs; cat in in > b, deps: [in], outs: [b]}
"""
JOBS, GPUS, MEMORY = 3, (0, 5), 10


class Ledger:
    """What the engines hold at a time; fails if it is more than there is."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.most: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def change(self, allocation: Allocation, sign: int) -> None:
        """Adds or removes an allocation, and checks the sum."""
        mutexes = [f"mutex {name}" for name in set(allocation.mutexes)]
        gpus = [f"gpu {number}" for number in allocation.gpus]
        amounts = {"slots": allocation.slots, "memory": allocation.memory} | dict.fromkeys([*mutexes, *gpus], 1)
        with self._lock:
            for name, amount in amounts.items():
                self._held[name] += sign * amount
                self.most[name] = max(self.most[name], self._held[name])
                if self._held[name] > {"slots": JOBS, "memory": MEMORY}.get(name, 1):
                    self.problems.append(f"{self._held[name]} of {name}")


def random_policy(dice: random.Random) -> StagePolicy:
    """Returns a policy that asks for a random part of everything."""
    names = dice.sample("xyz", dice.choice([0, 0, 1, 2]))
    return StagePolicy(
        slots=dice.randint(1, JOBS),
        gpus=dice.randint(0, len(GPUS)),
        memory=dice.randint(0, MEMORY),
        mutex=tuple(names),
        pool=dice.choice([None, None, None, "gpu"]),
    )


@pytest.mark.parametrize("seed", range(3))
def test_many_engines(tmp_path: Path, seed: int) -> None:
    """Stages of several engines with random policies all get their turn, and nothing is held twice at a time."""
    dice, ledger = random.Random(seed), Ledger()

    def work(engine: SharedSlots, policies: list[StagePolicy], pause: threading.Event) -> None:
        for policy in policies:
            with engine.allocate(policy) as allocation:
                ledger.change(allocation, 1)
                pause.wait(0.001)
                ledger.change(allocation, -1)

    threads = []
    for _ in range(6):
        policies = [random_policy(dice) for _ in range(5)]
        arguments = [SharedSlots(tmp_path, JOBS, GPUS, MEMORY), policies, threading.Event()]
        threads.append(threading.Thread(target=work, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not any(thread.is_alive() for thread in threads)
    assert ledger.problems == []
    assert ledger.most["slots"] > 1  # they did work at the same time


def test_large_stage_beside_small_ones(tmp_path: Path) -> None:
    """A stage that asks for all slots gets them, although four engines take one again and again until it has ended."""
    done = threading.Event()

    def work() -> None:
        engine = SharedSlots(tmp_path, 2, ())
        while not done.is_set():
            with engine.allocate(StagePolicy()):
                done.wait(0.02)

    def take_all() -> None:
        with SharedSlots(tmp_path, 2, ()).allocate(StagePolicy(slots=2)):
            done.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    threads.append(threading.Thread(target=take_all, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert done.is_set()


def test_stage_in_a_pool(tmp_path: Path) -> None:
    """A stage of a pool takes nothing of this machine but its mutexes, for which a stage here waits."""
    pooled = StagePolicy(pool="gpu", slots=2, gpus=1, memory=MEMORY, mutex=("x",))
    here = SharedSlots(tmp_path, 2, (0,), MEMORY)
    with SharedSlots(tmp_path, 2, (0,), MEMORY).allocate(pooled) as allocation:
        assert allocation == Allocation(0, (), 0, ("x",))
        with here.allocate(StagePolicy(slots=2, gpus=1, memory=MEMORY)) as other:
            assert other == Allocation(2, (0,), MEMORY)
        started, done = threading.Event(), threading.Event()

        def wait() -> None:
            started.set()
            with here.allocate(StagePolicy(mutex=("y", "x"))):
                done.set()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert started.wait(240)
        assert not done.wait(0.2)
    assert done.wait(240)
    thread.join(240)


def test_booking_of_a_dead_process(tmp_path: Path) -> None:
    """A booking of memory that nobody locks any more does not count."""
    (tmp_path / "memory-10-0").touch()
    with SharedSlots(tmp_path, 1, (), MEMORY).allocate(StagePolicy(memory=10)) as allocation:
        assert allocation.memory == 10
    assert not [path for path in tmp_path.glob("memory-*") if path.name != "memory-10-0"]


def test_work_leaves_no_lock(tmp_path: Path) -> None:
    """One engine at a time does the work of a key, and the file of its lock goes when none does it."""
    doing, problems = threading.Lock(), []

    def work() -> None:
        slots = SharedSlots(tmp_path, 1, ())
        for _ in range(20):
            with slots.exclusive("key"):
                if not doing.acquire(blocking=False):
                    problems.append("two at a time")
                    return
                doing.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert problems == []
    assert list(tmp_path.iterdir()) == []


def test_memory_of_the_machine(tmp_path: Path) -> None:
    """The lowest limit of the process's control group and those around it counts, of both versions of Linux's."""
    everything = machine_memory(tmp_path / "none", tmp_path)
    assert everything > 2**20
    group = tmp_path / "cgroup"
    (tmp_path / "job/step").mkdir(parents=True)
    (tmp_path / "job/memory.max").write_text("1048576\n")
    (tmp_path / "job/step/memory.max").write_text("max\n")
    group.write_text("0::/job/step\n")
    assert machine_memory(group, tmp_path) == 2**20
    group.write_text("0::/elsewhere/on/the/host\n")
    assert machine_memory(group, tmp_path) == everything
    (tmp_path / "memory/docker").mkdir(parents=True)
    (tmp_path / "memory/docker/memory.limit_in_bytes").write_text("524288\n")
    (tmp_path / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    group.write_text("5:cpu,cpuacct:/docker\n4:memory:/docker\n")
    assert machine_memory(group, tmp_path) == 2**19


@pytest.mark.parametrize(
    ("written", "count"),
    [("4GiB", 2**32), ("1.5 GB", 1_500_000_000), ("512kb", 512_000), ("3 KiB", 3072), (1000, 1000), ("77", 77)],
)
def test_units(written: object, count: int) -> None:
    """An amount of memory is a number of bytes, or has a unit of 1000 or of 1024."""
    policies = Policies.model_validate({"resources": {"memory": written}, "stages": {"a": {"memory": written}}})
    assert policies.of("a").memory == policies.resources.total_memory() == count


@pytest.mark.parametrize(
    "written", [-1, "-1", 0.5, "0.5", True, "1,5 GB", "4GiB and more", "GiB", "inf", 1 << 61, "2EiB", None, [1]]
)
def test_amounts_that_are_none(written: object) -> None:
    """An amount below 0, in parts of bytes, with a comma, beyond all machines or without a unit's number is refused."""
    with pytest.raises(ValidationError):
        Policies.model_validate({"stages": {"a": {"memory": written}}})
    with pytest.raises(ValidationError):
        Policies.model_validate({"stages": {"a": {"timeout_s": math.inf}}})


def test_more_memory_than_there_is(toy: Toy) -> None:
    """A stage that asks for more memory than the machine has fails in one sentence, and keeps its outputs."""
    toy.write({"dvc.yaml": PAIR, "in": "one\n"})
    succeeded(run_engine())
    policies = Policies.model_validate({"resources": {"memory": "1GiB"}, "stages": {"a": {"memory": "1500MiB"}}})
    assert set(outcomes(succeeded(run_engine(policies=policies))).values()) == {Outcome.UNCHANGED}
    toy.write({"in": "two\n"})
    run = run_engine(policies=policies, keep_going=True)
    assert "a did not start: execution.yaml asks for 1.5GiB of memory, and this machine has 1.0GiB" in str(run.error)
    assert list(run.ran) == ["b"]
    assert (toy.read("a"), toy.runs("a")) == ("one\n", 1)
    assert in_use(toy.folder) == {"read": [], "write": []}
