"""The plan as a table of cases, from facts to decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from flows.engine.planning.change_messages import NEVER_RUN, Change, abbreviate_parameters, describe
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.planning.stage_facts import CosmeticChange, Dependency, Facts, Hashes
from flows.engine.types import Stage

EDITED = Change("in", "modified")
FASTER = Change("speed", "value", 1, 2)


@dataclass
class FakeCache:
    """A cache with fixed content: outputs by stage and dependencies, folder hashes by path and content."""

    outputs: Mapping[tuple[str, str], Hashes] = field(default_factory=dict)
    folders: Mapping[tuple[str, str], str] = field(default_factory=dict)
    files: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Returns the outputs of `stage` for these dependencies, which the key has as `path=hash,path=hash`."""
        return self.outputs.get((stage, _key(dependencies)))

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Returns the hash of `path` in `outputs`, or of a folder with these outputs."""
        return outputs.get(path) or self.folders.get((path, _key(outputs)))

    def parameters(self, path: str, content: str, names: Sequence[str]) -> str | None:
        """Returns the parameters in the version of `path` with the hash `content`, if the cache has it."""
        return self.files.get((path, content))


def _key(hashes: Hashes) -> str:
    return ",".join(f"{path}={value}" for path, value in sorted(hashes.items()))


def first(*own: Change, outputs: tuple[Change, ...] = (), always: bool = False) -> Facts:
    """Returns the facts of a stage `a` that makes `a` from files of the project."""
    return Facts(Stage("a"), own=own, outputs=outputs, recorded={"a": "a1"}, always=always)


def second(*own: Change, recorded: str = "a1", present: str | None = "a1", always: bool = False) -> Facts:
    """Returns the facts of a stage `b` that makes `b` from `a`."""
    dependency = Dependency("a", ("a",), recorded, present)
    return Facts(Stage("b", ("a",)), own=own, dependencies=(dependency,), recorded={"b": "b1"}, always=always)


def third() -> Facts:
    """Returns the facts of a stage `c` that makes `c` from `b`."""
    dependency = Dependency("b", ("b",), "b1", "b1")
    return Facts(Stage("c", ("b",)), dependencies=(dependency,), recorded={"c": "c1"})


def verdicts(facts: list[Facts], cache: FakeCache) -> str:
    """Returns the verdicts in order, as one line."""
    return ", ".join(decision.verdict for decision in plan(facts, cache))


EMPTY = FakeCache()
A2 = FakeCache({("a", ""): {"a": "a2"}})
A2_B2 = FakeCache({("a", ""): {"a": "a2"}, ("b", "a=a2"): {"b": "b2"}})
A1_B1 = FakeCache({("a", ""): {"a": "a1"}, ("b", "a=a1"): {"b": "b1"}})
MISSING = (Change("a", "deleted"),)


@pytest.mark.parametrize(
    ("facts", "cache", "expected"),
    [
        pytest.param([first(), second(), third()], EMPTY, "unchanged, unchanged, unchanged", id="nothing changed"),
        pytest.param([first(NEVER_RUN)], EMPTY, "run", id="never run"),
        pytest.param([first(EDITED), second(), third()], EMPTY, "run, may run, may run", id="downstream of a run"),
        pytest.param([first(EDITED), second(), third()], A2, "restore, run, may run", id="restored to other content"),
        pytest.param([first(EDITED), second(), third()], A2_B2, "restore, restore, run", id="restored all the way"),
        pytest.param([first(EDITED), second(), third()], A1_B1, "restore, unchanged, unchanged", id="same content"),
        pytest.param([first(outputs=MISSING), second(present=None)], A1_B1, "restore, unchanged", id="deleted output"),
        pytest.param([first(outputs=MISSING), second(present=None)], EMPTY, "run, may run", id="lost output"),
        pytest.param([first(), second(FASTER), third()], EMPTY, "unchanged, run, may run", id="parameter in between"),
        pytest.param([first(), second(recorded="a0")], EMPTY, "unchanged, run", id="recorded for other content"),
        pytest.param([first(always=True), second()], A1_B1, "run, may run", id="always changed upstream"),
        pytest.param([first(), second(always=True)], A1_B1, "unchanged, run", id="always changed at the end"),
        pytest.param([first(EDITED), second(always=True)], EMPTY, "run, run", id="always changed downstream of a run"),
        pytest.param([first(EDITED), second(NEVER_RUN)], EMPTY, "run, may run", id="both new"),
    ],
)
def test_verdicts(facts: list[Facts], cache: FakeCache, expected: str) -> None:
    """The verdicts follow from the recorded, present and cached hashes."""
    assert verdicts(facts, cache) == expected


def test_force() -> None:
    """With force all stages run that can, with their reasons, and tracked data stays unchanged."""
    data = Facts(Stage("in.dvc"), recorded={"in": "i1"}, tracked=True)
    decisions = plan([data, first(FASTER), second()], A1_B1, force=True)
    assert [decision.verdict for decision in decisions] == [Verdict.UNCHANGED, Verdict.RUN, Verdict.RUN]
    assert decisions[1].reasons == ("forced with --force", "speed 1 → 2")


def test_reasons() -> None:
    """A decision names each change with old and new value, and downstream of a run the stage that it depends on."""
    upstream, downstream = plan([first(EDITED, FASTER), second()], EMPTY)
    assert upstream.reasons == ("in changed", "speed 1 → 2")
    assert downstream.reasons == ("depends on the outputs of a",)
    _, downstream = plan([first(EDITED), second(FASTER)], EMPTY)
    assert downstream.reasons == ("speed 1 → 2", "depends on the outputs of a")


def test_many_reasons_are_abbreviated() -> None:
    """Of many upstream stages the nearest one is named, of many changed parameters the first two, with a number."""
    outputs = [Dependency(f"out{number}", (f"s{number}",), "1", "1") for number in range(14)]
    makers = [Facts(Stage(f"s{number}"), own=(EDITED,), recorded={f"out{number}": "1"}) for number in range(14)]
    for count, names in ((1, "s0"), (2, "s0 and s1"), (3, "s2 and 2 others"), (14, "s13 and 13 others")):
        reader = Facts(Stage("report"), dependencies=tuple(outputs[:count]))
        assert plan([*makers, reader], EMPTY)[-1].reasons == (f"depends on the outputs of {names}",)
    changes = [Change(f"knob{number}", "value", 1, 2) for number in range(9)]
    assert abbreviate_parameters(changes[:3]) == changes[:3]
    descriptions = [describe(change) for change in abbreviate_parameters(changes)]
    assert descriptions == ["knob0 1 → 2", "knob1 1 → 2", "7 more parameters changed"]


def test_never_run_is_the_only_reason() -> None:
    """A stage without a record has no other reason."""
    assert plan([first(NEVER_RUN, EDITED)], EMPTY)[0].reasons == ("not recorded yet",)


def test_frozen_or_tracked() -> None:
    """Tracked data stays unchanged, is restored if it is missing, and passes edited content on downstream."""
    dependency = Dependency("in", ("in.dvc",), "i1", "i1")
    reader = Facts(Stage("a", ("in.dvc",)), dependencies=(dependency,), recorded={"a": "a1"})
    same = Facts(Stage("in.dvc"), recorded={"in": "i1"}, present={"in": "i1"}, tracked=True)
    missing = Facts(Stage("in.dvc"), outputs=(Change("in", "deleted"),), recorded={"in": "i1"}, tracked=True)
    edited = Facts(
        Stage("in.dvc"), outputs=(Change("in", "modified"),), recorded={"in": "i1"}, present={"in": "i2"}, tracked=True
    )
    assert verdicts([same, reader], EMPTY) == "unchanged, unchanged"
    assert verdicts([missing, reader], FakeCache({("in.dvc", ""): {"in": "i1"}})) == "restore, unchanged"
    assert verdicts([edited, reader], EMPTY) == "record, run"


def test_unavailable_tracked_data() -> None:
    """For tracked data in no cache the plan says how to get it, and the stage that reads it may run."""
    dependency = Dependency("in", ("in.dvc",), "i1", None)
    reader = Facts(Stage("a", ("in.dvc",)), dependencies=(dependency,), recorded={"a": "a1"})
    lost = Facts(Stage("in.dvc"), outputs=(Change("in", "not in cache"),), recorded={"in": "i1"}, tracked=True)
    data, downstream = plan([lost, reader], EMPTY)
    assert (data.verdict, downstream.verdict) == (Verdict.MISSING, Verdict.MAY_RUN)
    assert data.reasons == ("in not in the cache", "fetch it with `dvc pull` or `inkflow run --pull`")
    assert downstream.reasons == ("depends on the outputs of in.dvc",)


@pytest.mark.parametrize(
    ("own", "hint"),
    [
        (NEVER_RUN, "it has never run and is frozen: `dvc unfreeze a` lets it run"),
        (Change("in", "modified"), "fetch it with `dvc pull` or `inkflow run --pull`"),
    ],
)
def test_missing_outputs_of_a_frozen_stage(own: Change, hint: str) -> None:
    """The plan says how to get them: by a run if there was none yet, else from the remote."""
    frozen = Facts(Stage("a", outputs=("out",)), own=(own,), outputs=(Change("out", "deleted"),), tracked=True)
    [decision] = plan([frozen], EMPTY)
    assert (decision.verdict, decision.reasons[-1]) == (Verdict.MISSING, hint)


@pytest.mark.parametrize(
    ("uncached", "is_checkout"), [((), False), (("out",), True), (("out", "other"), True), (("other",), False)]
)
def test_missing_outputs_that_dvc_does_not_keep(uncached: tuple[str, ...], is_checkout: bool) -> None:
    """Where all missing outputs have `cache: false`, git has them; else the remote may have them."""
    own, lost = (Change("in", "modified"),), (Change("out", "deleted"),)
    frozen = Facts(Stage("a", outputs=("out",)), own=own, outputs=lost, tracked=True, uncached=uncached)
    [decision] = plan([frozen], EMPTY)
    assert ("git checkout -- out" in decision.reasons[-1]) is is_checkout


def test_folder_with_outputs_of_others() -> None:
    """The hash of a folder that several stages write into comes from the cache; if unknown, its reader may run."""
    dependency = Dependency("shop", ("p", "q"), "shop1.dir", "shop1.dir")
    count = Facts(Stage("count", ("p", "q")), dependencies=(dependency,), recorded={"counted": "c1"})
    p = Facts(Stage("p"), own=(EDITED,), recorded={"shop/p": "p1"})
    q = Facts(Stage("q"), recorded={"shop/q": "q1"})
    cache = FakeCache({("p", ""): {"shop/p": "p2"}}, {("shop", "shop/p=p2,shop/q=q1"): "shop2.dir"})
    assert verdicts([p, q, count], cache) == "restore, unchanged, run"
    same = FakeCache(cache.outputs, {("shop", "shop/p=p2,shop/q=q1"): "shop1.dir"})
    assert verdicts([p, q, count], same) == "restore, unchanged, unchanged"
    unknown = plan([p, q, count], FakeCache(cache.outputs))[2]
    assert unknown == Decision("count", Verdict.MAY_RUN, ("depends on restored outputs",))


def test_upstream_that_is_not_planned() -> None:
    """Outputs of a stage outside of the plan are used as they are in the workspace."""
    assert verdicts([second(present="a2")], EMPTY) == "run"
    assert verdicts([second()], EMPTY) == "unchanged"


def test_what_is_work() -> None:
    """All verdicts but `unchanged` are work, and an unchanged stage with reasons too: its record has to be written."""
    assert not Decision("a", Verdict.UNCHANGED).is_work
    assert Decision("a", Verdict.UNCHANGED, ("comments only in a.py",)).is_work
    assert all(Decision("a", verdict).is_work for verdict in Verdict if verdict is not Verdict.UNCHANGED)


def test_fixed_outputs() -> None:
    """A stage that always gives the same outputs leaves its readers as they are when it runs, if all are recorded."""
    assert _with_fixed(["a"], recorded={"a": "a1"}) == ["run", "unchanged"]
    assert _with_fixed([], recorded={"a": "a1"}) == ["run", "may run"]
    assert _with_fixed(["b"], recorded={"a": "a1"}) == ["run", "may run"]
    assert _with_fixed(["a"], recorded={"a": "a1"}, outputs=("a", "more")) == ["run", "may run"]
    assert _with_fixed(["a"], recorded={"a": "a1"}, cache=A2) == [
        "restore",
        "run",
    ]  # to other outputs


def _with_fixed(
    fixed: list[str], recorded: Hashes, outputs: tuple[str, ...] = ("a",), cache: FakeCache = EMPTY
) -> list[str]:
    made = Facts(Stage("a", outputs=outputs), own=(EDITED,), recorded=recorded)
    return [decision.verdict for decision in plan([made, second()], cache, fixed=fixed)]


def test_only_force_is_called_force() -> None:
    """A stage that always runs says so, and not that somebody has forced it."""
    assert plan([first(always=True)], EMPTY)[0].reasons == ("always runs",)


def test_comments_and_more() -> None:
    """A stage with changed comments and a changed parameter is restored from a result of either version of its code."""
    comments = CosmeticChange("a.py", ("a.py",), "old", "new")
    code = Dependency("in", ("source",), "in1", "in1")
    stage = Facts(Stage("a"), own=(Change("a.py", "comments only"), FASTER), dependencies=(code,),
                  recorded={"a": "a1"}, cosmetic=(comments,))  # fmt: skip
    now, before = FakeCache({("a", "in=in1"): {"a": "a2"}}), FakeCache({("a", "a.py=old,in=in1"): {"a": "a3"}})
    assert plan([stage], now)[0] == Decision("a", Verdict.RESTORE, ("speed 1 → 2",), {"a": "a2"})
    assert plan([stage], before)[0] == Decision("a", Verdict.RESTORE, ("speed 1 → 2",), {"a": "a3"})
    assert plan([stage], EMPTY)[0] == Decision("a", Verdict.RUN, ("speed 1 → 2",))


def test_comments_alone() -> None:
    """A stage with changed comments alone is unchanged, and its new record is work."""
    stage = Facts(Stage("a"), own=(Change("a.py", "comments only"),), recorded={"a": "a1"})
    decision = plan([stage], EMPTY)[0]
    assert (decision.verdict, decision.reasons) == (Verdict.UNCHANGED, ("comments only in a.py",))
    assert decision.is_work


def test_import_with_another_source() -> None:
    """An import whose source has changed is imported again: what comes of it is not known before."""
    renewed = Facts(Stage("in.dvc"), own=(Change("source", "modified"),), recorded={"in": "i1"}, present={"in": "i1"},
                    tracked=True, renewed=True)  # fmt: skip
    reader = Facts(Stage("a"), dependencies=(Dependency("in", ("in.dvc",), "i1", "i1"),), recorded={"a": "a1"})
    assert verdicts([renewed, reader], EMPTY) == "record, may run"


@pytest.mark.parametrize(
    ("own", "present", "verdict"),
    [
        ((), {"one": "1"}, "restore"),
        ((), {"one": "1", "two": "2"}, "record"),  # DVC's cache lacks them alone
        ((), {"one": "changed"}, "record"),
        ((FASTER,), {"one": "1"}, "record"),
        ((), {}, "restore"),
        ((FASTER,), {}, "record"),
        ((FASTER,), {"one": "1", "two": "2"}, "record"),
        ((), {"one": "changed", "two": "2"}, "record"),
    ],
)
def test_tracked_data_of_which_some_is_missing(
    own: tuple[Change, ...], present: Mapping[str, str], verdict: str
) -> None:
    """Missing data are restored only if nothing else was edited: an edit by hand is recorded, and never overwritten."""
    data = Facts(
        Stage("pair", outputs=("one", "two")), own=own, outputs=MISSING, recorded={"one": "1", "two": "2"},
        present=present, tracked=True,
    )  # fmt: skip
    cache = FakeCache({("pair", ""): {"one": "1", "two": "2"}})
    assert verdicts([data], cache) == verdict
