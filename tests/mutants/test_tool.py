"""The tool itself: which mutants it makes, what it takes for noticed, and when it is content."""

import re
from pathlib import Path

import pytest

pytest.importorskip("mutmut")

from stages.base.errors import InvalidInput
from tests.mutants.__main__ import PAGE, problems, with_rows
from tests.mutants.mutations import mutants
from tests.mutants.registry import EXPLAINED, MODULES, Explanation, chosen, explanations, modules
from tests.mutants.trial import Result
from tests.support.root import ROOT

SOURCE = '''
"""A text."""
LIMIT = 3


class Kept:
    count: int = 0

    @property
    def is_large(self) -> bool:
        """Whether it is large."""
        return any(value > LIMIT for value in self.values)


def decide(missing, edited):
    note("text")
    if missing and not edited:
        return missing - edited
'''
MADE = {
    ("", "LIMIT = 4"),
    ("Kept.is_large", "return all(value > LIMIT for value in self.values)"),
    ("Kept.is_large", "return any(value >= LIMIT for value in self.values)"),
    ("decide", "None"),
    ("decide", "if True:"),
    ("decide", "if False:"),
    ("decide", "if missing:"),
    ("decide", "if not edited:"),
    ("decide", "if missing and edited:"),
    ("decide", "return missing + edited"),
    ("decide", "return missing"),
}


def test_each_decision_is_changed() -> None:
    """Comparisons, halves of conditions, calls and constants are changed one at a time; texts and fields are not."""
    assert {(mutant.function, mutant.now) for mutant in mutants(SOURCE)} == MADE
    assert len(mutants(SOURCE)) == len(MADE)


def test_the_table_has_each_module() -> None:
    """The page has a row for each module that decides, with as many explained mutants as there are explanations."""
    rows = re.findall(r"^\| `(\S+\.py)` \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == list(modules())
    explained = explanations()
    for name, made, noticed, count in rows:
        assert (int(count), int(noticed) + int(count)) == (len(explained.get(name, ())), int(made)), name


def test_survivors_have_to_be_explained() -> None:
    """A survivor without a reason is a problem, and so is a reason without a survivor; a sample may lack survivors."""
    one, two = mutants(SOURCE)[:2]
    reason = Explanation(one.function, one.was, one.now, "why")
    result = Result("a.py", [one], 9)
    assert problems(result, [reason], is_sample=False) == []
    (new,) = problems(result, [], is_sample=False)
    assert new.startswith("a.py, line 3, the module\n  - LIMIT = 3\n  + LIMIT = 4")
    (stale,) = problems(Result("a.py", [], 9), [reason], is_sample=False)
    assert stale == "a.py: explained, but no survivor: : LIMIT = 4"
    assert problems(Result("a.py", [], 9), [reason], is_sample=True) == []
    assert len(problems(Result("a.py", [one, two], 9), [reason], is_sample=True)) == 1


def test_the_table_keeps_what_was_not_tried() -> None:
    """New numbers replace those of their modules, the others stay, in the order of the modules."""
    first, second, *_ = modules()
    page = "before\n<!-- generated: mutants -->\n<!-- end: mutants -->\nafter\n"
    page = with_rows(page, [Result(second, [], 7)])
    page = with_rows(page, [Result(first, mutants(SOURCE)[:1], 5)])
    page = with_rows(page, [Result(second, [], 8)])
    assert page.splitlines()[4:6] == [f"| `{first}` | 5 | 4 | 1 |", f"| `{second}` | 8 | 8 | 0 |"]
    assert page.startswith("before\n") and page.endswith("after\n")


def test_files_that_are_named_exist() -> None:
    """Each module, test, function and line in the files of the mutants is there, and each survivor has a reason."""
    known = modules(MODULES)
    for module in known.values():
        source = (ROOT / module.path).read_text(encoding="utf-8")
        assert all(f"def {function.rpartition('.')[2]}(" in source for function in module.functions), module.path
        assert all((ROOT / test.partition("::")[0]).exists() for test in module.tests)
    for path, items in explanations(EXPLAINED).items():
        lines = " ".join(line.strip() for line in (ROOT / path).read_text(encoding="utf-8").splitlines())
        assert path in known and all(item.was in lines and item.was != item.now and item.why for item in items), path


def test_modules_are_named_by_their_path() -> None:
    """A path or its start names modules, without one all are meant; another word is a mistake."""
    known = modules()
    assert chosen([], known) == list(known.values())
    assert {module.path for module in chosen(["flows/engine/planning"], known)} == {
        path for path in known if path.startswith("flows/engine/planning/")
    }
    assert [module.path for module in chosen(["stages/watch/bounds.py"], known)] == ["stages/watch/bounds.py"]
    with pytest.raises(InvalidInput, match="begins with 'flows/nothing'"):
        chosen(["flows/nothing"], known)


def test_a_reason_is_not_taken_for_another_line(tmp_path: Path) -> None:
    """An explanation holds for its function and its line alone."""
    path = tmp_path / "explained.toml"
    path.write_text('[["a.py"]]\nfunction = "f"\nwas = "x < 1"\nnow = "x <= 1"\nwhy = "x is whole"\n')
    ((item,),) = explanations(path).values()
    found = {mutant.function: mutant for mutant in mutants("def f(x):\n    x < 1\ndef g(x):\n    x < 1\n")
             if mutant.now == "x <= 1"}  # fmt: skip
    assert item.explains(found["f"]) and not item.explains(found["g"])
