"""Which stages the scheduler starts: order, slots, GPUs, failures. Needs no clock and no process."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
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
    """Returns a scheduler with the default policy for all stages that are not in `policies`."""
    return Scheduler(stages, {stage.name: policies.get(stage.name, StagePolicy()) for stage in stages}, jobs, gpus)


def startable(state: Scheduler) -> list[str]:
    """Starts all stages that may start, and returns their names."""
    return [stage.name for stage, _ in started(state)]


def started(state: Scheduler) -> list[tuple[Stage, Allocation]]:
    """Starts all stages that may start, and returns them with their allocations."""
    ready = []
    while (stage := state.start_next()) is not None:
        ready.append(stage)
    return ready


def test_order() -> None:
    """A stage starts when all its upstream stages are done, and not before; independent stages start together."""
    state = scheduler()
    assert startable(state) == ["source"]
    state.finish("source")
    assert startable(state) == ["left", "right"]
    state.finish("right")
    assert startable(state) == []
    state.finish("left")
    assert startable(state) == ["join"]


def test_upstream_that_is_not_part_of_the_run() -> None:
    """A stage does not wait for an upstream stage that is not part of the run."""
    assert startable(scheduler([Stage("left", ("source",))])) == ["left"]


def test_slots() -> None:
    """The running stages hold at most all slots, each as many as its policy says."""
    stages = [Stage(name) for name in "abc"]
    assert startable(scheduler(stages, jobs=2)) == ["a", "b"]
    assert startable(scheduler(stages, jobs=2, a=StagePolicy(slots=2))) == ["a"]


def test_stage_that_does_not_fit() -> None:
    """A stage that does not fit in the free slots does not delay a stage that fits."""
    stages = [Stage(name) for name in "abc"]
    assert startable(scheduler(stages, jobs=2, b=StagePolicy(slots=2))) == ["a", "c"]


def test_more_slots_than_there_are() -> None:
    """A stage that asks for more slots than there are gets all of them, and runs alone."""
    state = scheduler([Stage("a"), Stage("b")], jobs=2, a=StagePolicy(slots=9))
    assert started(state) == [(Stage("a"), Allocation(2, ()))]
    state.finish("a")
    assert startable(state) == ["b"]


def test_gpus() -> None:
    """Each GPU is allocated to one stage at a time, and is free again when the stage ends."""
    stages, gpu = [Stage(name) for name in "abc"], StagePolicy(gpus=1)
    state = scheduler(stages, gpus=[3, 7], a=gpu, b=gpu, c=gpu)
    assert [allocation.gpus for _, allocation in started(state)] == [(3,), (7,)]
    state.finish("a")
    assert [allocation.gpus for _, allocation in started(state)] == [(3,)]


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
    """Each GPU in CUDA_VISIBLE_DEVICES has a number of its own, and a stage gets it by its name."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    numbers = resources.gpus()
    assert len(set(numbers)) == len(names)
    variables = [resources.environment(1, 1, (number,))["CUDA_VISIBLE_DEVICES"] for number in numbers]
    assert variables == names


def test_machine_without_gpus() -> None:
    """On a machine without GPUs a stage that asks for GPUs runs without them."""
    state = scheduler([Stage("a")], a=StagePolicy(gpus=2))
    assert started(state) == [(Stage("a"), Allocation(1, ()))]


def test_memory() -> None:
    """The running stages book at most the memory that there is; one that asks for more gets all, and runs alone."""
    stages, half = [Stage(name) for name in "abcd"], StagePolicy(memory=2**32)
    policies = {"a": half, "b": half, "c": StagePolicy(memory=2**33), "d": StagePolicy()}
    state = Scheduler(stages, policies, 4, memory=2**33)
    assert startable(state) == ["a", "b", "d"]
    state.finish("a")
    assert startable(state) == []
    state.finish("b")
    assert startable(state) == ["c"]


def test_a_stage_of_a_pool_takes_nothing_here() -> None:
    """A stage that runs on another machine holds no slot, no memory and no GPU of this one, whatever it asks for."""
    stages, elsewhere = [Stage(name) for name in "abc"], StagePolicy(pool="gpu", slots=2, memory=9, gpus=1)
    state = Scheduler(stages, {"a": elsewhere, "b": elsewhere, "c": StagePolicy(slots=2, memory=9, gpus=1)}, 2, [0], 9)
    assert started(state) == [
        (stages[0], Allocation(0, ())), (stages[1], Allocation(0, ())), (stages[2], Allocation(2, (0,), 9)),
    ]  # fmt: skip
    for name in "abc":
        state.finish(name)
    assert state.running == ()


def test_mutex() -> None:
    """Stages that share a name of a mutex run one after another, here and in a pool; others do not wait for them."""
    stages = [Stage(name) for name in "abcd"]
    policies = {
        "a": StagePolicy(mutex=("database", "port")),
        "b": StagePolicy(mutex=("port",), pool="gpu"),
        "c": StagePolicy(mutex=("database",)),
        "d": StagePolicy(mutex=("licence",)),
    }
    state = Scheduler(stages, policies, 4)
    assert startable(state) == ["a", "d"]
    state.finish("a")
    assert startable(state) == ["b", "c"]


def test_stages_downstream_of_a_failure() -> None:
    """Stages downstream of a failed one are skipped and name it; the other stages still run."""
    state = scheduler([*DIAMOND, Stage("apart")], jobs=1)
    state.start_next()
    assert state.fail("source") == {"left": "source", "right": "source", "join": "source"}
    assert startable(state) == ["apart"]


def test_two_failures() -> None:
    """A stage downstream of two failed ones is skipped once, and names the first."""
    state = scheduler()
    state.start_next()
    state.finish("source")
    started(state)
    assert state.fail("right") == {"join": "right"}
    assert state.fail("left") == {}
    assert state.running == ()


def test_waiting_without_depending() -> None:
    """A stage starts after those that it waits for in the run, whether they succeed, fail or are skipped."""
    frozen = Stage("frozen", waits_for=("left", "join", "elsewhere"))
    expected = {
        "none": ["source", "left", "right", "join", "frozen", "reader"],
        "source": ["source", "frozen", "reader"],
        "left": ["source", "left", "frozen", "right", "reader"],
    }
    for failing, names in expected.items():
        state, order = scheduler([frozen, *DIAMOND, Stage("reader", ("frozen",))], jobs=1), []
        while (ready := state.start_next()) is not None:
            order.append(ready[0].name)
            (state.fail if order[-1] == failing else state.finish)(order[-1])
        assert order == names


def test_stop() -> None:
    """After `stop` no stage starts, and the running stages can end."""
    state = scheduler()
    state.start_next()
    assert state.stop() == ("left", "right", "join")
    state.finish("source")
    assert (startable(state), state.waiting, state.running) == ([], (), ())


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage]:
    """Draws stages, each with some of the earlier ones as upstream."""
    stages: list[Stage] = []
    for number in range(draw(st.integers(1, 9))):
        upstream = draw(st.lists(st.sampled_from([stage.name for stage in stages] or [""]), unique=True, max_size=3))
        stages.append(Stage(f"s{number}", tuple(filter(None, upstream))))
    return stages


@settings(max_examples=30)
@given(st.data(), graphs(), st.integers(1, 4), st.integers(0, 3))
def test_any_graph(data: st.DataObject, stages: list[Stage], jobs: int, gpu_count: int) -> None:
    """In any order of ends and failures, nothing is allocated twice, and each stage ends exactly once."""
    check(data, stages, jobs, gpu_count)


@pytest.mark.farm
@settings(max_examples=200)
@given(st.data(), graphs(), st.integers(1, 4), st.integers(0, 3))
def test_many_graphs(data: st.DataObject, stages: list[Stage], jobs: int, gpu_count: int) -> None:
    """The same in many graphs."""
    check(data, stages, jobs, gpu_count)


def check(data: st.DataObject, stages: list[Stage], jobs: int, gpu_count: int) -> None:
    """Runs the stages in a drawn order, and checks what is allocated."""
    names = st.lists(st.sampled_from("xyz"), max_size=3).map(tuple)
    policy = st.builds(
        StagePolicy, slots=st.integers(1, 5), gpus=st.integers(0, 4), memory=st.integers(0, 12), mutex=names
    )
    state = Scheduler(stages, {stage.name: data.draw(policy) for stage in stages}, jobs, list(range(gpu_count)), 9)
    allocations: dict[str, Allocation] = {}
    ended: list[str] = []
    done: set[str] = set()
    while True:
        for stage, allocation in started(state):
            assert set(stage.upstream) <= done
            allocations[stage.name] = allocation
        gpus = [gpu for allocation in allocations.values() for gpu in allocation.gpus]
        assert sum(allocation.slots for allocation in allocations.values()) <= jobs
        assert len(gpus) == len(set(gpus)) <= gpu_count
        assert sum(allocation.memory for allocation in allocations.values()) <= 9
        mutexes = [name for allocation in allocations.values() for name in set(allocation.mutexes)]
        assert len(mutexes) == len(set(mutexes))
        assert set(state.running) == set(allocations)
        if not allocations:
            break
        name = data.draw(st.sampled_from(sorted(allocations)))
        del allocations[name]
        ended.append(name)
        if data.draw(st.integers(0, 3)):
            state.finish(name)
            done.add(name)
        else:
            ended += state.fail(name)
            ended += state.stop() if data.draw(st.integers(0, 3)) == 0 else ()
    assert state.waiting == ()
    assert sorted(ended) == sorted(stage.name for stage in stages)
