"""Which stages may start: slots, GPUs, order, failures. No clock, no process."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.engine import resources
from flows.engine.policy import StagePolicy
from flows.engine.scheduler import Allocation, Scheduler
from flows.engine.types import Stage

DIAMOND = (
    Stage("source"),
    Stage("left", ("source",)),
    Stage("right", ("source",)),
    Stage("join", ("left", "right")),
)


def scheduler(
    stages: Sequence[Stage] = DIAMOND, jobs: int = 4, gpus: Sequence[int] = (), **policies: StagePolicy
) -> Scheduler:
    """A scheduler with the default policy for all but the named stages."""
    return Scheduler(stages, {stage.name: policies.get(stage.name, StagePolicy()) for stage in stages}, jobs, gpus)


def startable(state: Scheduler) -> list[str]:
    """Names of all that may start now, which then run."""
    return [stage.name for stage, _ in started(state)]


def started(state: Scheduler) -> list[tuple[Stage, Allocation]]:
    """All that may start now, with what it holds."""
    found = []
    while (ready := state.start_next()) is not None:
        found.append(ready)
    return found


def test_order() -> None:
    """A stage starts when all that it waits for is done, and not before; independent ones start together."""
    state = scheduler()
    assert startable(state) == ["source"]
    state.finish("source")
    assert startable(state) == ["left", "right"]
    state.finish("right")
    assert startable(state) == []
    state.finish("left")
    assert startable(state) == ["join"]


def test_upstream_that_is_not_part_of_the_run() -> None:
    """A stage does not wait for one that this run knows nothing of."""
    assert startable(scheduler([Stage("left", ("source",))])) == ["left"]


def test_slots() -> None:
    """No more run than there are slots, and a stage takes as many as its policy says."""
    stages = [Stage(name) for name in "abc"]
    assert startable(scheduler(stages, jobs=2)) == ["a", "b"]
    assert startable(scheduler(stages, jobs=2, a=StagePolicy(slots=2))) == ["a"]


def test_a_wide_stage_is_passed_by_narrow_ones() -> None:
    """What does not fit now keeps nothing from starting that fits."""
    stages = [Stage(name) for name in "abc"]
    assert startable(scheduler(stages, jobs=2, b=StagePolicy(slots=2))) == ["a", "c"]


def test_more_slots_than_there_are() -> None:
    """A stage that asks for more than there is gets all of it, alone."""
    state = scheduler([Stage("a"), Stage("b")], jobs=2, a=StagePolicy(slots=9))
    assert started(state) == [(Stage("a"), Allocation(2, ()))]
    state.finish("a")
    assert startable(state) == ["b"]


def test_gpus() -> None:
    """Each GPU has one stage at a time; its number goes with the stage and comes back with its end."""
    stages, gpu = [Stage(name) for name in "abc"], StagePolicy(gpus=1)
    state = scheduler(stages, gpus=[3, 7], a=gpu, b=gpu, c=gpu)
    assert [held.gpus for _, held in started(state)] == [(3,), (7,)]
    state.finish("a")
    assert [held.gpus for _, held in started(state)] == [(3,)]


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("0,3", ["0", "3"]),
        ("GPU-8932f937-d72c,GPU-1,MIG-5c9a", ["GPU-8932f937-d72c", "GPU-1", "MIG-5c9a"]),
        ("1,-1,2", ["1"]),
        ("NoDevFiles", []),
        ("", []),
    ],
)
def test_gpus_by_name(monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]) -> None:
    """GPUs are handed out by the names that CUDA_VISIBLE_DEVICES has for them, each by a number of its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    numbers = resources.gpus()
    assert len(set(numbers)) == len(names)
    handed = [resources.environment(1, 1, (number,))["CUDA_VISIBLE_DEVICES"] for number in numbers]
    assert handed == names


def test_no_gpu_there() -> None:
    """On a machine without GPUs a stage that asks for some runs all the same, with none."""
    state = scheduler([Stage("a")], a=StagePolicy(gpus=2))
    assert started(state) == [(Stage("a"), Allocation(1, ()))]


def test_failure_behind() -> None:
    """All that stands behind a failure will not run, each with the one that failed; the rest still may."""
    state = scheduler([*DIAMOND, Stage("apart")], jobs=1)
    state.start_next()
    assert state.fail("source") == {"left": "source", "right": "source", "join": "source"}
    assert startable(state) == ["apart"]


def test_two_failures() -> None:
    """What stands behind two failures is told of once, with the first."""
    state = scheduler()
    state.start_next()
    state.finish("source")
    started(state)
    assert state.fail("right") == {"join": "right"}
    assert state.fail("left") == {}
    assert state.running == ()


def test_stop() -> None:
    """After a stop nothing starts any more, and what runs may end."""
    state = scheduler()
    state.start_next()
    assert state.stop() == ("left", "right", "join")
    state.finish("source")
    assert (startable(state), state.waiting, state.running) == ([], (), ())


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage]:
    """Stages, each waiting for some of those before it."""
    stages: list[Stage] = []
    for number in range(draw(st.integers(1, 9))):
        upstream = draw(st.lists(st.sampled_from([stage.name for stage in stages] or [""]), unique=True, max_size=3))
        stages.append(Stage(f"s{number}", tuple(filter(None, upstream))))
    return stages


@given(st.data(), graphs(), st.integers(1, 4), st.integers(0, 3))
def test_any_graph(data: st.DataObject, stages: list[Stage], jobs: int, gpu_count: int) -> None:
    """Whatever ends or fails in whatever order: never more slots than jobs nor a GPU twice, and all end once."""
    policy = st.builds(StagePolicy, slots=st.integers(1, 5), gpus=st.integers(0, 4))
    state = Scheduler(stages, {stage.name: data.draw(policy) for stage in stages}, jobs, list(range(gpu_count)))
    held: dict[str, Allocation] = {}
    ended: list[str] = []
    done: set[str] = set()
    while True:
        for stage, allocation in started(state):
            assert set(stage.upstream) <= done
            held[stage.name] = allocation
        taken = [gpu for allocation in held.values() for gpu in allocation.gpus]
        assert sum(allocation.slots for allocation in held.values()) <= jobs
        assert len(taken) == len(set(taken)) <= gpu_count
        assert set(state.running) == set(held)
        if not held:
            break
        name = data.draw(st.sampled_from(sorted(held)))
        del held[name]
        ended.append(name)
        if data.draw(st.integers(0, 3)):
            state.finish(name)
            done.add(name)
        else:
            ended += state.fail(name)
            ended += state.stop() if data.draw(st.integers(0, 3)) == 0 else ()
    assert state.waiting == ()
    assert sorted(ended) == sorted(stage.name for stage in stages)
