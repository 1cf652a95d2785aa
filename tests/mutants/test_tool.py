"""The tool itself: which mutants it makes, what it takes for noticed, and when it is content."""

import os
import re
import subprocess
import sys
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
    rows = re.findall(r"^\| `(\S+\.py)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == list(modules())
    explained = explanations()
    for name, *numbers in rows:
        made, noticed, late, survived = map(int, numbers)
        known = [item.loops for item in explained.get(name, ())]
        assert survived == known.count(False) and late <= known.count(True), name
        assert noticed + late + survived == made, name


def test_survivors_have_to_be_explained() -> None:
    """A survivor without a reason is a problem, and so is a reason without a survivor, in a sample for those in it."""
    one, two = mutants(SOURCE)[:2]
    reason = Explanation(one.function, one.was, one.now, "why")
    assert problems(Result("a.py", [one]), [reason], is_sample=False) == []
    (new,) = problems(Result("a.py", [one]), [], is_sample=False)
    assert new.startswith("a.py, line 3, the module\n  - LIMIT = 3\n  + LIMIT = 4")
    stale = ["a.py: explained, but no survivor: : LIMIT = 4"]
    for result in (Result("a.py"), Result("a.py", noticed=[one]), Result("a.py", noticed=[two])):
        assert problems(result, [reason], is_sample=False) == stale
        assert problems(result, [reason], is_sample=True) == (stale if one in result.noticed else [])
    assert len(problems(Result("a.py", [one, two]), [reason], is_sample=True)) == 1


def test_a_mutant_that_is_too_late_has_to_be_known_to_loop() -> None:
    """A time-out is no verdict: it needs a reason of its own, which holds too where another test fails first."""
    one, *_ = mutants(SOURCE)
    loop, harmless = (Explanation(one.function, one.was, one.now, "why", loops) for loops in (True, False))
    late = Result("a.py", timed_out=[one])
    assert problems(late, [loop], is_sample=False) == problems(Result("a.py", noticed=[one]), [loop], is_sample=False)
    assert problems(late, [loop], is_sample=False) == []
    (new,) = problems(late, [], is_sample=False)
    assert new.startswith("a.py, timed out: line 3, the module\n")
    assert problems(late, [harmless], is_sample=True) == [new, "a.py: explained, but no survivor: : LIMIT = 4"]
    assert problems(Result("a.py"), [loop], is_sample=False) == ["a.py: explained, but no loop: : LIMIT = 4"]
    assert len(problems(Result("a.py", [one]), [loop], is_sample=True)) == 2


TOY = """
def decide(number):
    if number < 3:
        return "low"
    return "high"


def steps(number):
    count = 0
    while number > count:
        count += 1
    return count
"""
TOY_TESTS = """
import os
import toy


def test_decide():
    assert [toy.decide(number) for number in (1, 9)] == ["low", "high"]


def test_steps():
    assert toy.steps(2) == 2


def test_alone():
    os.environ["TOY"] = os.environ.get("TOY", "") + "x"
    assert toy.decide(1) and len(os.environ["TOY"]) < LIMIT


def test_after_it():
    test_alone()
"""
TRY = """
from tests.mutants.registry import Module
from tests.mutants.trial import run

chosen = ("if number <= 3:", "if number < 4:", "if False:", "count -= 1", "while number >= count:")
(result,) = run(
    [Module("toy.py", ("test_toy.py",))], lambda _, made: [one for one in made if one.now in chosen], cpu_s=1
)
for kind in ("survivors", "noticed", "timed_out"):
    print(kind, sorted(one.now for one in getattr(result, kind)))
"""


def try_toy(folder: Path, limit: int) -> "subprocess.CompletedProcess[str]":
    """Tries chosen mutants of the toy in a process of its own; `limit` is how many tests may run together."""
    (folder / "toy.py").write_text(TOY)
    (folder / "test_toy.py").write_text(TOY_TESTS.replace("LIMIT", f"{limit}"))
    search = {"PYTHONPATH": f"{ROOT}:{folder}"}
    return subprocess.run(
        [sys.executable, "-c", TRY], cwd=folder, env=os.environ | search, capture_output=True, text=True, check=False
    )


def test_a_mutant_is_noticed_survives_or_gives_no_verdict(tmp_path: Path) -> None:
    """A test that fails notices a mutant; one that all tests pass survives; an endless loop is told apart."""
    done = try_toy(tmp_path, limit=3)
    assert "survivors ['if number < 4:', 'if number <= 3:']" in done.stdout, done.stdout + done.stderr
    assert "noticed ['if False:', 'while number >= count:']" in done.stdout
    assert "timed_out ['count -= 1']" in done.stdout


def test_tests_that_fail_together_notice_nothing(tmp_path: Path) -> None:
    """Where the tests fail together on the code as it is, no mutant is tried, and one sentence says so."""
    done = try_toy(tmp_path, limit=2)
    assert done.returncode and "InvalidInput: toy.py: its tests, run together, fail on the code as it is" in done.stderr
    assert "noticed" not in done.stdout


def test_the_table_keeps_what_was_not_tried() -> None:
    """New numbers replace those of their modules, the others stay, in the order of the modules."""
    first, second, *_ = modules()
    some = mutants(SOURCE)
    page = "before\n<!-- generated: mutants -->\n<!-- end: mutants -->\nafter\n"
    page = with_rows(page, [Result(second, noticed=some[:2])])
    page = with_rows(page, [Result(first, some[:1], some[1:5], some[5:7])])
    page = with_rows(page, [Result(second, noticed=some[:8])])
    assert page.splitlines()[4:6] == [f"| `{first}` | 7 | 4 | 2 | 1 |", f"| `{second}` | 8 | 8 | 0 | 0 |"]
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
