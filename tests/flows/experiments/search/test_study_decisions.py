"""Which trial a search runs next, which one is the best, and when nothing is left: within one process."""

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from flows.experiments.search.space import parse_space
from flows.experiments.search.study import Definition, Study
from stages.base.errors import InvalidInput


def study_in(folder: Path, space: str = "k=a|b|c", direction: str = "minimize", base: str = "base") -> Study:
    """Opens a study that proposes at random."""
    return Study(folder, Definition(parse_space((space,)), "m.json:loss", direction, ["fit"], base), "random", None, 0)


def finish(study: Study, value: float | None, state: TrialState = TrialState.COMPLETE, count: int = 100) -> int:
    """Claims a trial, ends it, and returns its number."""
    trial = study.claim(count)
    assert trial is not None
    study.tell(trial, state, value, {"place": "p"})
    return int(trial.number)


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 3)])
def test_the_best_trial(tmp_path: Path, direction: str, best: int) -> None:
    """The best trial has the lowest or highest score, the first of equal ones; failed trials do not count."""
    study = study_in(tmp_path, "x=0..1", direction)
    assert study.best() is None
    finish(study, None, TrialState.FAIL)
    assert study.best() is None
    for value in (1, 2, 3, 3, 1):
        finish(study, value)
    found = study.best()
    assert found is not None and found.number == best


def test_a_trial_of_an_ended_search_is_taken_over(tmp_path: Path) -> None:
    """A trial whose owner is gone is next, with its number and parameters, before new ones; one that runs is not."""
    first = study_in(tmp_path, "x=0..1")
    begun = first.claim(3)
    assert begun is not None
    second = study_in(tmp_path, "x=0..1")
    new = second.claim(3)
    assert new is not None and new.number == 1
    first.close()
    taken = second.claim(3)
    assert taken is not None
    assert (taken.number, second.settings(taken)) == (begun.number, first.settings(begun))
    last = second.claim(3)
    assert last is not None and last.number == 2
    assert second.claim(3) is None
    second.tell(taken, TrialState.COMPLETE, 1.0, {})
    assert second.claim(3) is None
    assert [trial.state for trial in second.trials()] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]


def test_a_finished_trial_is_nobodys_orphan(tmp_path: Path) -> None:
    """A trial that has ended is not run again when its owner ends."""
    first = study_in(tmp_path, "x=0..1")
    finish(first, 1.0)
    finish(first, None, TrialState.FAIL)
    first.close()
    second = study_in(tmp_path, "x=0..1")
    assert finish(second, 2.0) == 2
    assert second.claim(3) is None


def test_the_folder_of_owners_is_empty_at_the_end(tmp_path: Path) -> None:
    """Owners that are gone leave no file, whether they closed the study or were asked for by others."""
    first, second = study_in(tmp_path), study_in(tmp_path)
    assert len(list((tmp_path / "owners").iterdir())) == 2
    first.close()
    second.close()
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_space_that_is_exhausted(tmp_path: Path) -> None:
    """When all combinations were proposed there is no further trial, however many are asked for; not before."""
    study, seen = study_in(tmp_path), set[str]()
    while (trial := study.claim(100)) is not None:
        assert len(seen) < 3  # else it would have been the end
        seen.add(study.settings(trial)["k"])
        assert study.is_exhausted() == (len(seen) == 3)
        study.tell(trial, TrialState.COMPLETE, 1.0, {})
    assert seen == set("abc") and study.is_exhausted()
    endless = study_in(tmp_path / "endless", "x=0..1")
    for _ in range(3):
        finish(endless, 1.0)
    assert not endless.is_exhausted()


def test_known_settings(tmp_path: Path) -> None:
    """Equal settings have the trial that is complete; a failed one or other settings have none."""
    study = study_in(tmp_path, "x=0..1")
    finish(study, None, TrialState.FAIL)
    finish(study, 1.0)
    failed, complete = (study.settings(trial) for trial in study.trials())
    found = study.known(complete)
    assert found is not None and found.number == 1
    assert study.known(failed) is None and study.known({"x": 5.0}) is None


@pytest.mark.parametrize(
    "space", ["k=0|false", "k=1|true|1.0", "k=1|'1'", "k=[0]|[false]", "k=2024-01-01|'2024-01-01'"]
)
def test_values_of_other_types_are_other_settings(tmp_path: Path, space: str) -> None:
    """A value that Python takes for an equal one of another type is tried by itself, with a score of its own."""
    study, scores = study_in(tmp_path, space), dict[str, float]()
    while (trial := study.claim(100)) is not None:
        known = study.known(study.settings(trial))
        choice = trial.params["k"]
        assert (known.value if known else None) == scores.get(choice)
        scores.setdefault(choice, float(len(scores)))
        study.tell(trial, TrialState.COMPLETE, scores[choice], {})
    assert len(scores) == space.count("|") + 1


def test_the_last_value_of_a_range_with_steps(tmp_path: Path) -> None:
    """A search tries each value of a range with steps, the upper bound too."""
    study, seen = study_in(tmp_path, "x=0..0.9:step=0.3"), set[float]()
    while (trial := study.claim(100)) is not None:
        seen.add(study.settings(trial)["x"])
        study.tell(trial, TrialState.COMPLETE, 1.0, {})
    assert seen == {0.0, 0.3, 0.6, 0.9}


@pytest.mark.parametrize("rest", [b'{"op_code": 4, "half', b"~"])
def test_half_a_line_of_a_killed_process_is_removed(tmp_path: Path, rest: bytes) -> None:
    """A journal that ends within a line loses this line alone, and the study goes on."""
    study = study_in(tmp_path, "x=0..1")
    finish(study, 1.0)
    study.close()
    whole = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(whole + rest)
    again = study_in(tmp_path, "x=0..1")
    assert (tmp_path / "journal").read_bytes()[: len(whole)] == whole
    assert rest not in (tmp_path / "journal").read_bytes()
    assert finish(again, 2.0) == 1
    assert [trial.value for trial in again.trials()] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "k=a|b"}, "has another space: "),
        ({"direction": "maximize"}, "has another direction: minimize, got maximize; name a new one with --study"),
        ({"space": "k=a|b", "direction": "maximize"}, "has another space and direction: "),
    ],
)
def test_another_definition(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A study keeps its definition: another one is refused, with what differs."""
    study_in(tmp_path).close()
    with pytest.raises(InvalidInput, match=message):
        study_in(tmp_path, **changes)
    assert not study_in(tmp_path).has_other_base
    assert study_in(tmp_path, base="other").has_other_base


def test_names_of_studies() -> None:
    """Equal definitions of equal files have the same name, all others another one."""
    space = parse_space(("x=0..1",))
    names = {
        Definition(space, *rest).name
        for rest in (("a", "minimize", ["f"], "1"), ("b", "minimize", ["f"], "1"), ("a", "maximize", ["f"], "1"),
                     ("a", "minimize", ["g"], "1"), ("a", "minimize", ["f"], "2"))
    }  # fmt: skip
    assert len(names) == 5
    assert Definition(space, "a", "minimize", ["f"], "1").name in names
