"""`--space`: ranges and choices, their mistakes, and what makes two searches the same."""

import itertools
import math
from contextlib import chdir
from decimal import Decimal
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.core.git import run_git
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.experiments.search.space import Choice, Range, base_digest, check_space, parse_space
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.flows.core.test_git import PERSON
from tests.support.root import ROOT


def test_ranges_and_choices() -> None:
    """Bounds, flags and YAML values are read, and a text gives the same dimension again."""
    texts = ["a.b=1e-4..1e-2:log", "n=16..256:int", "d=0..1:step=0.25", "k=adam|sgd", "u=[32]|[64, 64]|null"]
    space = parse_space(texts)
    assert space[0] == Range("a.b", 1e-4, 1e-2, log=True)
    assert space[1] == Range("n", 16.0, 256.0, integer=True)
    assert isinstance(space[4], Choice) and space[4].probes == [[32], [64, 64], None]
    assert [dimension.size for dimension in space] == [math.inf, 241, 5, 2, 3]
    assert parse_space([dimension.text() for dimension in space]) == space


def test_numbers_stay_within_the_bounds() -> None:
    """A proposed number is rounded to six digits, never beyond a bound; whole numbers are integers."""
    low, high = 0.12345678, 0.12345681
    found = Range("a", low, high)
    assert low <= found.setting(0.1234567999) <= high
    assert Range("a", 0.0, 1.0).setting(1 / 3) == 0.333333
    assert repr(Range("a", 1, 9, integer=True).setting(4.0)) == "4"


def test_digits_of_a_narrow_range() -> None:
    """Numbers that begin with the same digits have six more of them: rounding would leave the bounds alone."""
    found = Range("a", 1234567.1, 1234567.9)
    assert found.setting(1234567.34567891) == 1234567.345679
    assert Range("a", 1.0, 1.0 + 2**-50).setting(1.0 + 2**-51) == 1.0 + 2**-51


def test_ranges_with_steps_keep_their_last_value() -> None:
    """Every plain range whose bounds are some steps apart has all of these values, as a person writes them."""
    for step, low, count in itertools.product(
        ("0.05", "0.1", "0.15", "0.3", "0.001"), ("0", "0.1", "0.001"), range(11)
    ):
        values = [float(Decimal(low) + position * Decimal(step)) for position in range(count + 2)]
        [found] = parse_space([f"a={low}..{values[-1]!r}:step={step}"])
        assert isinstance(found, Range)
        assert (found.size, found.last) == (len(values), values[-1])
        assert [found.setting(value) for value in values] == values
    [between] = parse_space(["a=0..1:step=0.3"])
    assert isinstance(between, Range) and (between.size, between.last, between.setting(1.0)) == (4, 0.9, 0.9)
    assert parse_space(["a=0..1:step=0.1234567"])[0].text() == "a=0..1:step=0.1234567"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "a search needs a --space"),
        (["a"], "--space a: expected KEY=LOW..HIGH"),
        (["a="], "expected KEY=LOW..HIGH"),
        (["=1..2"], "expected KEY=LOW..HIGH"),
        (["a=1..x"], "not all numbers"),
        (["a=..2"], "not all numbers"),
        (["a=2..1"], "lower bound 2 is not below the upper bound 1"),
        (["a=1..1"], "lower bound 1 is not below"),
        (["a=0..1:log"], "a logarithmic range begins above 0, got 0"),
        (["a=-1..1:log"], "begins above 0, got -1"),
        (["a=nan..1"], "finite"),
        (["a=-1e308..1e308"], "finite"),
        (["a=1..inf"], "finite"),
        (["a=1.5..4:int"], "whole bounds"),
        (["a=1..4:lag"], "got :lag, expected :log, :int or :step=X"),
        (["a=1..4:log:log"], "each once"),
        (["a=1..4:step=0"], "the step is above 0"),
        (["a=1..4:step=9"], "at most 3, got 9"),
        (["a=1..4:step="], "not all numbers"),
        (["a=1..4:log:step=1"], "exclude each other"),
        (["a=x"], "one value is nothing to search"),
        (["a=x|"], "a choice is empty"),
        (["a=x|x"], "given twice"),
        (["a=0x10|16"], "a choice is given twice"),
        (["a=[|2"], "not YAML values"),
        (["a=1..2", "a=x|y"], "a is given twice"),
        (["a=1..2", "./params.yaml:a=x|y"], "params.yaml:a is given twice"),
    ],
)
def test_mistakes(texts: list[str], message: str) -> None:
    """A mistake in a range or choice is one sentence with the text that has it."""
    with pytest.raises(InvalidInput) as raised:
        parse_space(texts)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models.dense.unitz.x=1..2", "there is no key 'unitz'; did you mean 'units'?"),
        ("models.dense.batch_size=16..32", "add :int"),
        ("models.dense.optimizer.learning_rate=-1..1", "models.dense.optimizer.learning_rate: got -1"),
        ("models.dense.optimizer.name=adam|sgdd", "did you mean 'sgd'?"),
        ("dvc.yaml:stages.nothing=1..2", "dvc.yaml: there is no key 'stages.nothing'"),
        ("absent.yaml:a=1..2", "there is no file"),
    ],
)
def test_values_that_the_project_refuses(text: str, message: str) -> None:
    """Keys and values are checked against the schema of params.yaml and the keys of other files before any trial."""
    with pytest.raises(InvalidInput) as raised:
        check_space(parse_space([text]), ROOT)
    assert message in str(raised.value)


def test_good_space_of_this_project() -> None:
    """Whole numbers, choices and rates of this project's models can be searched."""
    texts = ["units=16..256:int", "optimizer.learning_rate=1e-4..1e-2:log", "optimizer.name=adam|sgd|rmsprop"]
    check_space(parse_space([f"models.dense.{text}" for text in texts]), ROOT)


def test_what_makes_searches_equal(toy: Toy) -> None:
    """Searched values and results of stages change nothing; other parameters and files do."""
    toy.write({"params.yaml": "a: {b: 1}\nc: 2\n"})
    space = parse_space(["a.b=1..3"])

    def digest(*entries: str) -> str:
        return base_digest(entries, ["out"], space, Path())

    first = digest("100644 blob 1\tcode.py", "100644 blob 1\tout/x", "100644 blob 1\tdvc.lock")
    toy.write({"params.yaml": "a: {b: 7}\nc: 2\n"})
    assert digest("100644 blob 1\tcode.py", "100644 blob 2\tout/x", "100644 blob 2\tdvc.lock") == first
    assert digest("100644 blob 2\tcode.py") != first
    toy.write({"params.yaml": "a: {b: 7}\nc: 3\n"})
    assert digest("100644 blob 1\tcode.py") != first


def test_code_outside_of_the_project(toy: Toy) -> None:
    """In a project below the top of the repository, files elsewhere that stages depend on make searches different."""
    toy.write({"common/code.py": "1\n", "other/code.py": "1\n", "common/two.py": "1\n"})
    toy.write({"sub/dvc.yaml": "stages:\n  fit: {cmd: 'true', deps: [../common, in], outs: [out]}\n", "sub/in": "1\n"})
    with chdir("sub"):
        Repo.init(subdir=True).close()
    for command in (["add", "--all"], [*PERSON, "commit", "--quiet", "--message", "state"]):
        run_git(command, toy.folder)

    def entries() -> dict[str, str]:
        found = (entry.partition("\t") for entry in ProjectClones(toy.folder / "sub").entries())
        return {path: facts for facts, _, path in found}

    first = entries()
    assert {"dvc.yaml", "in", "../common/code.py", "../common/two.py"} <= first.keys()
    assert not [path for path in first if path.startswith(("../other", "../sub", "sub/"))]
    toy.write({"other/code.py": "2\n"})
    assert entries() == first
    toy.write({"common/code.py": "2\n"})
    assert {path for path, facts in entries().items() if facts != first[path]} == {"../common/code.py"}
    inputs = ProjectClones(toy.folder / "sub")._inputs("HEAD", toy.folder, ["params.yaml"], {"../common"})
    assert [entry.partition("\t")[2] for entry in inputs if entry] == [
        "common/code.py", "common/two.py", "sub/dvc.yaml",
    ]  # fmt: skip


def test_results_outside_of_the_project(toy: Toy) -> None:
    """Files in a folder that a stage makes are no inputs of a search, also those that another stage depends on."""
    graph = "stages:\n  a: {cmd: 'true', outs: [{../made: {cache: false}}]}\n"
    toy.write({"sub/dvc.yaml": f"{graph}  b: {{cmd: 'true', deps: [../made/one], outs: [out]}}\n", "made/one": "1\n"})
    with chdir("sub"):
        Repo.init(subdir=True).close()
    for command in (["add", "--all"], [*PERSON, "commit", "--quiet", "--message", "state"]):
        run_git(command, toy.folder)
    found = {entry.partition("\t")[2] for entry in ProjectClones(toy.folder / "sub").entries()}
    assert "dvc.yaml" in found and "../made/one" not in found
