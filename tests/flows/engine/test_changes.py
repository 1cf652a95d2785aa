"""The facts about a stage as reasons: which differences count, their wording, and what a clone without data says."""

from collections.abc import Sequence

import pytest

from flows.engine.environment.grades import Difference
from flows.engine.planning.change_messages import (
    ABSENT,
    ALWAYS,
    NEVER_RUN,
    OTHER_RESULT,
    PULL_HINT,
    Change,
    abbreviate,
    abbreviate_parameters,
    count_by_state,
    describe,
    missing_hint,
    name_some,
    value_changes,
    without_cosmetic,
)
from flows.engine.planning.recorded_graph import as_recorded
from flows.engine.planning.stage_facts import Dependency, Facts, FileHash, is_executable, nothing_to_do
from flows.engine.types import Stage
from tests.flows.engine.test_plan import EMPTY, FakeCache

GONE = Change("out", "deleted")
OLD, NEW = '{"epochs": 2, "rate": {"a": 1}}', '{"epochs": 3, "rate": {"a": 1, "b": 2}}'


def parameters(recorded: str | None = OLD) -> Dependency:
    """Returns parameters that are read from a file of a stage."""
    return Dependency("made.yaml", ("make",), recorded, NEW, ("epochs", "rate"))


@pytest.mark.parametrize(
    ("dependency", "content", "expected"),
    [
        (Dependency("a", (), "1", "1"), "1", []),
        (Dependency("a", (), "1", "1"), "2", [Change("a", "modified")]),
        (Dependency("a", (), "1", "1"), None, [Change("a", "deleted")]),
        (Dependency("a", (), None, "1"), "1", [Change("a", "modified")]),
        (Dependency("a", (), None, None), None, []),
        (parameters(), OLD, []),
        (parameters(), NEW, [Change("epochs", "value", 2, 3), Change("rate.b", "value", ABSENT, 2)]),
        (parameters(NEW), OLD, [Change("epochs", "value", 3, 2), Change("rate.b", "value", 2, ABSENT)]),
        (parameters(), None, [Change("made.yaml", "deleted")]),
        (parameters(None), NEW, [Change("made.yaml", "modified")]),
    ],
)
def test_changes_of_a_dependency(dependency: Dependency, content: str | None, expected: list[Change]) -> None:
    """A file changes as a whole, parameters change value by value, and what is missing is said to be missing."""
    assert list(dependency.changes(content)) == expected


def test_parameters_of_a_file_have_a_key_of_their_own() -> None:
    """The same file as a dependency and as a file with parameters are two inputs."""
    assert Dependency("a", (), None, None).key == "a"
    assert Dependency("a", (), None, None, ("x", "y")).key == "a:x,y"


class Strict(FakeCache):
    """A cache that is asked for parameters of known files alone."""

    def parameters(self, path: str, content: str, names: Sequence[str]) -> str | None:
        """Returns the parameters of the file."""
        assert content
        return super().parameters(path, content, names)


def test_content_comes_from_the_cache() -> None:
    """A file has its hash, parameters their values, as soon as the file that a stage will write is known."""
    cache = Strict(files={("made.yaml", "m2"): NEW})
    assert Dependency("made.yaml", ("make",), "m1", "m1").content(cache, {"made.yaml": "m2"}) == "m2"
    assert parameters().content(cache, {"made.yaml": "m2"}) == NEW
    assert parameters().content(cache, {"made.yaml": "m3"}) is None
    assert parameters().content(cache, {}) is None


def test_only_rerun_makes_the_environment_a_reason() -> None:
    """A difference of the environment is a reason to run under the policy `rerun` alone."""
    found = tuple(Difference(name, "1", "2", "exact", name) for name in ("rerun", "warn", "report"))
    facts = Facts(Stage("a"), differences=found)
    assert facts.environment == (Change("rerun", "1 → 2"),)
    assert facts.changes == facts.environment
    assert nothing_to_do([Facts(Stage("a"), differences=found[1:])])


def test_all_changes_in_order() -> None:
    """The changes of a stage are its own, those of what it reads, those of its outputs; without a record it is new."""
    read = Dependency("in", ("make",), "1", "2")
    facts = Facts(Stage("a"), own=(Change("b", "new"),), dependencies=(read,), outputs=(GONE,), always=True)
    assert facts.changes == (ALWAYS, Change("b", "new"), Change("in", "modified"), GONE)
    assert Facts(Stage("a"), own=(NEVER_RUN,), dependencies=(read,)).changes == (NEVER_RUN,)


def test_nothing_to_do_needs_all_stages() -> None:
    """One stage with a change is enough that something is to do."""
    unchanged, changed = Facts(Stage("a")), Facts(Stage("b"), outputs=(GONE,))
    assert nothing_to_do([unchanged])
    assert not nothing_to_do([unchanged, changed])
    assert not nothing_to_do([changed])


def test_a_restored_result_that_is_another_one() -> None:
    """Missing outputs that come back with other content have a reason that says so; other changes keep theirs."""
    facts = Facts(Stage("a"), outputs=(GONE,), recorded={"out": "1"})
    assert facts.changes_when_restored((GONE,), {"out": "2"}) == (OTHER_RESULT,)
    assert facts.changes_when_restored((GONE,), {"out": "1"}) == (GONE,)
    assert facts.changes_when_restored((GONE,), {"other": "2"}) == (GONE,)
    assert facts.changes_when_restored((Change("in", "modified"),), {"out": "2"}) == (Change("in", "modified"),)


def test_comments_are_no_change_of_outputs() -> None:
    """A change of comments is told, and is not among those that can change outputs."""
    comments = Change("a.py", "comments only")
    assert without_cosmetic([comments, GONE]) == (GONE,)
    assert [describe(change) for change in (comments, GONE, NEVER_RUN)] == [
        "comments only in a.py", "out missing", "not recorded yet",
    ]  # fmt: skip


def test_several_changes_are_counted() -> None:
    """Changes of the same state are counted; a single one keeps its name."""
    missing = [Change(name, "deleted") for name in "ab"]
    assert count_by_state(missing, "outputs") == [Change("2 outputs", "deleted")]
    assert count_by_state([*missing, Change("c", "new")], "outputs") == [
        Change("2 outputs", "deleted"), Change("c", "new"),
    ]  # fmt: skip
    assert count_by_state([], "outputs") == []


@pytest.mark.parametrize(("count", "names"), [(1, "a"), (3, "a b c"), (4, "a and 3 more files")])
def test_many_files_are_abbreviated(count: int, names: str) -> None:
    """Up to three files are named, of more the first one with the number of the others."""
    changes = [Change(name, "modified") for name in "abcd"[:count]]
    expected = [*changes] if count < 4 else [Change(names, "modified")]
    assert abbreviate([*changes, GONE], "files") == [*expected, GONE]


def test_some_names() -> None:
    """Up to three names stand, of more the first three with the number of the others."""
    assert [name_some("abcdefg"[:count]) for count in (1, 3, 4, 7)] == [
        "a", "a, b, c", "a, b, c and 1 more", "a, b, c and 4 more",
    ]  # fmt: skip


def test_four_parameters_are_too_many() -> None:
    """Three changes of parameters stand as they are; of four the first two, and the number of the others."""
    changes = [Change(f"knob{number}", "value", 1, 2) for number in range(4)]
    assert abbreviate_parameters(changes[:3]) == changes[:3]
    assert abbreviate_parameters(changes) == [*changes[:2], Change("2 more parameters", "modified")]


def test_values_are_compared_leaf_by_leaf() -> None:
    """Sections are compared key by key; a section against a single value is one change."""
    assert list(value_changes("a", {"b": 1, "c": {"d": 2}}, {"b": 1, "c": {"d": 3}})) == [
        Change("a.c.d", "value", 2, 3)
    ]
    assert list(value_changes("a", 1, {"b": 1})) == [Change("a", "value", 1, {"b": 1})]
    assert list(value_changes("a", {"b": 1}, 1)) == [Change("a", "value", {"b": 1}, 1)]
    assert list(value_changes("a", 1, 1)) == []
    assert list(value_changes("a", ABSENT, ABSENT)) == [Change("a", "deleted")]
    assert list(value_changes("a", ABSENT, 1)) == [Change("a", "value", ABSENT, 1)]


def test_long_values_are_cut() -> None:
    """A value of up to 40 characters is whole, a longer one ends with dots; a section shows its keys."""
    assert describe(Change("a", "value", "x" * 40, "y" * 41)) == f"a {'x' * 40} → {'y' * 37}..."
    assert describe(Change("a", "value", ABSENT, {"b": 1, "c": 2})) == "a absent → {b, c}"


def test_a_clone_without_data_is_compared_by_its_record() -> None:
    """With nothing in the workspace, a stage that read what the stage before it wrote is unchanged, another is not."""
    make = Facts(Stage("make"), recorded={"a": "1"}, outputs=(GONE, Change("out", "not in cache")))
    read = Dependency("a", ("make",), "1", None)
    other = Dependency("a", ("make",), "0", None)
    stages = [make, Facts(Stage("reads"), dependencies=(read,)), Facts(Stage("read another"), dependencies=(other,))]
    found = as_recorded(stages, EMPTY)
    assert [stage.changes for stage in found] == [(), (), (Change("a", "modified"),)]


def test_an_edited_output_stays_a_change_of_the_record() -> None:
    """An output that is present and edited is not taken for the recorded one; the environment does not count."""
    edited = Change("out", "modified")
    difference = Difference("python", "3.11", "3.12", "minor", "rerun")
    (found,) = as_recorded([Facts(Stage("a"), outputs=(edited, GONE), differences=(difference,))], EMPTY)
    assert found.changes == (edited,)


def test_files_of_no_stage_are_compared_as_they_are() -> None:
    """A dependency that no stage of the graph writes keeps its present content."""
    changed = Facts(Stage("a"), dependencies=(Dependency("in", (), "1", "2"), Dependency("gone", (), "1", None)))
    assert as_recorded([changed], EMPTY)[0].changes == (Change("in", "modified"), Change("gone", "deleted"))


class WithoutLists(FakeCache):
    """A cache that has the list of files of no folder."""

    def composed(self, path: str, outputs: object) -> str | None:
        """Raises FileNotFoundError, as DVC's cache does for a folder whose list it lacks."""
        raise FileNotFoundError(path)


def test_what_no_cache_here_can_tell_counts_as_recorded() -> None:
    """A file in a folder whose list is in no cache, and parameters of a file that is in none, count as recorded."""
    make = Facts(Stage("make"), recorded={"folder": "f.dir", "made.yaml": "m1"})
    inside = Facts(Stage("b"), dependencies=(Dependency("folder/a", ("make",), "1", None),))
    (_, found) = as_recorded([make, inside], WithoutLists())
    assert found.changes == ()
    knobs = Facts(Stage("c"), dependencies=(parameters(),))
    assert as_recorded([make, knobs], EMPTY)[1].changes == ()
    known = FakeCache(files={("made.yaml", "m1"): NEW})
    assert [change.name for change in as_recorded([make, knobs], known)[1].changes] == ["epochs", "rate.b"]
    unknown = Facts(Stage("d"), dependencies=(Dependency("folder/a", ("make",), "1", None),))
    assert as_recorded([make, unknown], EMPTY)[1].changes == (Change("folder/a", "deleted"),)


def test_how_to_get_what_is_missing() -> None:
    """Recorded outputs and tracked data are fetched; a frozen stage that never ran has to be unfrozen."""
    assert missing_hint("a", is_recorded=True) == missing_hint("a.dvc", is_recorded=False) == PULL_HINT
    never = "it has never run and is frozen: `dvc unfreeze a` lets it run"
    assert missing_hint("a", is_recorded=False) == missing_hint("a", is_recorded=False, uncached="m") == never


def test_how_to_get_what_dvc_does_not_keep() -> None:
    """An output with `cache: false` is in git at most: no pull brings it."""
    checkout = "DVC does not keep it (`cache: false`): `git checkout -- 'm 1'`"
    assert missing_hint("a.dvc", is_recorded=True, uncached="m 1") == checkout
    assert missing_hint("a", is_recorded=True, uncached="m 1") == f"{checkout}, or `dvc unfreeze a` lets the stage run"


def test_the_executable_bit_of_a_hash() -> None:
    """Only a hash that was made with the bit has it; hashes are equal with and without it."""
    hashes = [FileHash("1", is_executable=True), FileHash("1"), "1"]
    assert [is_executable(value) for value in hashes] == [True, False, False]
    assert set(hashes) == {"1"}
