"""The plan as a table of cases: facts in, decisions out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from flows.engine.planning.change_messages import NEVER_RUN, Change, few_values, sentence
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.planning.stage_facts import Dependency, Facts, Hashes
from flows.engine.types import Stage

EDITED = Change("in", "modified")
FASTER = Change("speed", "value", 1, 2)


@dataclass
class Shelf:
    """What a cache holds, written down: outputs by stage and dependencies, folders by what was put into them."""

    held: Mapping[tuple[str, str], Hashes] = field(default_factory=dict)
    folders: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Outputs of `stage` for these dependencies, written as `path=hash,path=hash`."""
        return self.held.get((stage, _written(dependencies)))

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Hash of `path` among `outputs`, or of a folder that holds them."""
        return outputs.get(path) or self.folders.get((path, _written(outputs)))


def _written(hashes: Hashes) -> str:
    return ",".join(f"{path}={value}" for path, value in sorted(hashes.items()))


def first(*own: Change, outputs: tuple[Change, ...] = (), always: bool = False) -> Facts:
    """A stage `a` that makes `a` from files of the project."""
    return Facts(Stage("a"), own=own, outputs=outputs, recorded={"a": "a1"}, always=always)


def second(*own: Change, recorded: str = "a1", present: str | None = "a1", always: bool = False) -> Facts:
    """A stage `b` that makes `b` from `a`."""
    read = Dependency("a", ("a",), recorded, present)
    return Facts(Stage("b", ("a",)), own=own, dependencies=(read,), recorded={"b": "b1"}, always=always)


def third() -> Facts:
    """A stage `c` that makes `c` from `b`."""
    read = Dependency("b", ("b",), "b1", "b1")
    return Facts(Stage("c", ("b",)), dependencies=(read,), recorded={"c": "c1"})


def verdicts(facts: list[Facts], shelf: Shelf | None = None, *, force: bool = False) -> str:
    """The verdicts in order, as one line."""
    return ", ".join(decision.verdict for decision in plan(facts, shelf or Shelf(), force=force))


A2 = Shelf({("a", ""): {"a": "a2"}})
A2_B2 = Shelf({("a", ""): {"a": "a2"}, ("b", "a=a2"): {"b": "b2"}})
A1_B1 = Shelf({("a", ""): {"a": "a1"}, ("b", "a=a1"): {"b": "b1"}})
MISSING = (Change("a", "deleted"),)


@pytest.mark.parametrize(
    ("facts", "shelf", "expected"),
    [
        pytest.param([first(), second(), third()], Shelf(), "unchanged, unchanged, unchanged", id="nothing changed"),
        pytest.param([first(NEVER_RUN)], Shelf(), "run", id="never run"),
        pytest.param([first(EDITED), second(), third()], Shelf(), "run, may run, may run", id="what a run gives"),
        pytest.param([first(EDITED), second(), third()], A2, "restore, run, may run", id="restored to other content"),
        pytest.param([first(EDITED), second(), third()], A2_B2, "restore, restore, run", id="restored all the way"),
        pytest.param([first(EDITED), second(), third()], A1_B1, "restore, unchanged, unchanged", id="same content"),
        pytest.param([first(outputs=MISSING), second(present=None)], A1_B1, "restore, unchanged", id="deleted output"),
        pytest.param([first(outputs=MISSING), second(present=None)], Shelf(), "run, may run", id="lost output"),
        pytest.param([first(), second(FASTER), third()], Shelf(), "unchanged, run, may run", id="parameter in between"),
        pytest.param([first(), second(recorded="a0")], Shelf(), "unchanged, run", id="recorded for other content"),
        pytest.param([first(always=True), second()], A1_B1, "run, may run", id="always changed upstream"),
        pytest.param([first(), second(always=True)], A1_B1, "unchanged, run", id="always changed at the end"),
        pytest.param([first(EDITED), second(always=True)], Shelf(), "run, run", id="always changed behind a run"),
        pytest.param([first(EDITED), second(NEVER_RUN)], Shelf(), "run, may run", id="both new"),
    ],
)
def test_verdicts(facts: list[Facts], shelf: Shelf, expected: str) -> None:
    """What happens to each stage follows from what is recorded, present and cached."""
    assert verdicts(facts, shelf) == expected


def test_force() -> None:
    """With force all runs that can, for the reasons that there are, and tracked data stays."""
    data = Facts(Stage("in.dvc"), recorded={"in": "i1"}, tracked=True)
    decisions = plan([data, first(FASTER), second()], A1_B1, force=True)
    assert [decision.verdict for decision in decisions] == [Verdict.UNCHANGED, Verdict.RUN, Verdict.RUN]
    assert decisions[1].reasons == ("--force asked for", "speed 1 → 2")


def test_reasons() -> None:
    """A decision says what changed from what to what, and behind a run whose result it depends on."""
    ran, waits = plan([first(EDITED, FASTER), second()], Shelf())
    assert ran.reasons == ("in changed", "speed 1 → 2")
    assert waits.reasons == ("depends on what a gives",)
    _, kept = plan([first(EDITED), second(FASTER)], Shelf())
    assert kept.reasons == ("speed 1 → 2", "depends on what a gives")


def test_many_reasons_are_summed_up() -> None:
    """A stage that waits for many is told of the nearest and how many others, one with many changes of a few."""
    outputs = [Dependency(f"out{number}", (f"s{number}",), "1", "1") for number in range(14)]
    makers = [Facts(Stage(f"s{number}"), own=(EDITED,), recorded={f"out{number}": "1"}) for number in range(14)]
    for count, words in ((1, "s0 gives"), (2, "s0 and s1 give"), (14, "s13 and 13 others give")):
        reader = Facts(Stage("report"), dependencies=tuple(outputs[:count]))
        assert plan([*makers, reader], Shelf())[-1].reasons == (f"depends on what {words}",)
    changes = [Change(f"knob{number}", "value", 1, 2) for number in range(9)]
    assert few_values(changes[:3]) == changes[:3]
    said = [sentence(change) for change in few_values(changes)]
    assert said == ["knob0 1 → 2", "knob1 1 → 2", "7 more parameters changed"]


def test_never_run_is_reason_enough() -> None:
    """A new stage is not told to differ from a record that it does not have."""
    assert plan([first(NEVER_RUN, EDITED)], Shelf())[0].reasons == ("not recorded yet",)


def test_frozen_or_tracked() -> None:
    """What never runs stays, comes back when it is missing, and when edited gives its new content downstream."""
    read = Dependency("in", ("in.dvc",), "i1", "i1")
    reader = Facts(Stage("a", ("in.dvc",)), dependencies=(read,), recorded={"a": "a1"})
    same = Facts(Stage("in.dvc"), recorded={"in": "i1"}, present={"in": "i1"}, tracked=True)
    missing = Facts(Stage("in.dvc"), outputs=(Change("in", "deleted"),), recorded={"in": "i1"}, tracked=True)
    edited = Facts(
        Stage("in.dvc"), outputs=(Change("in", "modified"),), recorded={"in": "i1"}, present={"in": "i2"}, tracked=True
    )
    assert verdicts([same, reader]) == "unchanged, unchanged"
    assert verdicts([missing, reader], Shelf({("in.dvc", ""): {"in": "i1"}})) == "restore, unchanged"
    assert verdicts([edited, reader]) == "record, run"


def test_tracked_data_that_is_nowhere() -> None:
    """Data that no cache holds is not promised: the plan says how to get it, and what reads it may run."""
    read = Dependency("in", ("in.dvc",), "i1", None)
    reader = Facts(Stage("a", ("in.dvc",)), dependencies=(read,), recorded={"a": "a1"})
    lost = Facts(Stage("in.dvc"), outputs=(Change("in", "not in cache"),), recorded={"in": "i1"}, tracked=True)
    data, waits = plan([lost, reader], Shelf())
    assert (data.verdict, waits.verdict) == (Verdict.MISSING, Verdict.MAY_RUN)
    assert data.reasons == ("in not in the cache", "`dvc pull` or `inkflow run --pull` brings it")
    assert waits.reasons == ("depends on what in.dvc gives",)


def test_folder_with_outputs_of_others() -> None:
    """A folder that others write into has the content that the cache composes of theirs; else its reader may run."""
    read = Dependency("shop", ("p", "q"), "shop1.dir", "shop1.dir")
    count = Facts(Stage("count", ("p", "q")), dependencies=(read,), recorded={"counted": "c1"})
    p = Facts(Stage("p"), own=(EDITED,), recorded={"shop/p": "p1"})
    q = Facts(Stage("q"), recorded={"shop/q": "q1"})
    shelf = Shelf({("p", ""): {"shop/p": "p2"}}, {("shop", "shop/p=p2,shop/q=q1"): "shop2.dir"})
    assert verdicts([p, q, count], shelf) == "restore, unchanged, run"
    again = Shelf(shelf.held, {("shop", "shop/p=p2,shop/q=q1"): "shop1.dir"})
    assert verdicts([p, q, count], again) == "restore, unchanged, unchanged"
    unknown = plan([p, q, count], Shelf(shelf.held))[2]
    assert unknown == Decision("count", Verdict.MAY_RUN, ("depends on what is restored",))


def test_upstream_that_is_not_planned() -> None:
    """What a stage outside of the plan makes is taken as it lies there."""
    assert verdicts([second(present="a2")]) == "run"
    assert verdicts([second()]) == "unchanged"
