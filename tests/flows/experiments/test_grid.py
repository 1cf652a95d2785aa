"""The combinations of a sweep: parsed from arguments and files, and the names of their experiments."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.experiments.grid import Combination, check_combinations, parameter_keys, parse_combinations
from stages.base.errors import InvalidInput
from tests.conftest import Toy


def test_combinations(tmp_path: Path) -> None:
    """Combinations are those listed and those in a file, each with each cell of the grid, in that order, each once."""
    file = tmp_path / "some"
    file.write_text("# two of them\na=1\n\na=2 c.d=x\na=1\n")
    settings = [dict(combination.settings) for combination in parse_combinations(["b=[1, 2],[3]"], ["a=1"], file)]
    assert settings == [
        {"a": 1, "b": [1, 2]}, {"a": 1, "b": [3]}, {"a": 2, "c.d": "x", "b": [1, 2]}, {"a": 2, "c.d": "x", "b": [3]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name", "experiment"),
    [
        ({"m.lr": 0.001, "m.size": 32}, "m.lr=0.001 m.size=32", "m.lr=0.001,size=32"),
        ({"m.lr": 1, "n.lr": 2}, "m.lr=1 n.lr=2", "m.lr=1,n.lr=2"),
        ({"m.on": True, "m.x": None}, "m.on=true m.x=null", "on=true,x=null"),
        ({"lr": 3}, "lr=3", "lr=3"),
        ({"m": 4}, "m=4", "m=4"),
    ],
)
def test_names(settings: dict[str, Any], name: str, experiment: str) -> None:
    """A combination is named by its settings; its experiment by the shortest ends of the keys that no other key has."""
    known = ["m", "m.lr", "m.size", "n", "n.lr", "lr"]
    assert (Combination(settings).name, Combination(settings).experiment(known)) == (name, experiment)


def test_values_of_other_types_are_other_combinations() -> None:
    """Values that Python takes for equal ones, and texts that look like them, each have a name and an experiment."""
    texts = ["a=1,1.0,true,'1','1.0','true',null,'null'", "b=[1],['1'],2024-01-01,'2024-01-01',{1: x, y: z}"]
    found = parse_combinations([*texts], [], None)
    assert len(found) == len({each.name for each in found}) == len({each.experiment([]) for each in found}) == 40
    assert len(parse_combinations(["a=1,1,0x1"], ["b=1", "params.yaml:b=1"], None)) == 1


@pytest.mark.parametrize(
    ("grid", "listed", "message"),
    [
        ([], [""], r"a combination is empty; expected KEY=VALUE"),
        (["a=1,2"], [" "], r"a combination is empty; expected KEY=VALUE"),
        (["a=1,2", "params.yaml:a=3,4"], [], r"--grid: a key is given twice"),
        (["./params.yaml:a=1"], ["b=1 a=1"], r"a is both in --grid and in --list or --from"),
        ([], ["a=1 a=2"], r"combination 'a=1 a=2': a is given twice; give it once"),
        ([], ["a=1 params.yaml:a=2"], r"params\.yaml:a is given twice; give it once"),
    ],
)
def test_empty_combinations_and_keys_given_twice(grid: list[str], listed: list[str], message: str) -> None:
    """A combination without a parameter, as of an unset variable, and a parameter with two values are refused."""
    with pytest.raises(InvalidInput, match=message):
        parse_combinations(grid, listed, None)


@pytest.mark.parametrize("settings", [{}, {"a": 1, "params.yaml:a": 2}])
def test_such_combinations_of_a_deployed_flow(toy: Toy, settings: dict[str, Any]) -> None:
    """The flow refuses them too: its combinations come from a form of Prefect's page."""
    toy.write({"params.yaml": "a: 1\n"})
    with pytest.raises(InvalidInput, match=r"is empty|is given twice"):
        check_combinations([Combination(settings)], Path())


def test_keys_of_parameters(tmp_path: Path) -> None:
    """Sections, parameters in them, and items of lists are keys."""
    (tmp_path / "params.yaml").write_text("a: {b: 1, c: [2, {d: 3}]}\n5: x\n")
    assert parameter_keys(tmp_path) == ["a", "a.b", "a.c", "a.c.0", "a.c.1", "a.c.1.d", "5"]


def test_unsafe_names_stay_distinct() -> None:
    """Characters that a git reference cannot hold are replaced, and a digest keeps such names distinct."""
    one, other = (Combination({"m.units": units}).experiment([]) for units in ([4, 8], [[4], 8]))
    assert one != other
    for name in (
        one,
        other,
        Combination({"k": "a" * 300}).experiment([]),
        Combination({"k": "a..b~/@{.lock"}).experiment([]),
    ):
        subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=True)
        assert len(name) < 120


@pytest.mark.parametrize("key", ["a" * 501, "a\udcff"])
def test_keys_that_are_no_keys(key: str) -> None:
    """A key that is longer than any message, or has bytes that are no UTF-8, is refused."""
    with pytest.raises(InvalidInput, match=r"the key is no UTF-8 text|the key has 501 characters, expected"):
        parse_combinations([f"{key}=1"], [], None)


def test_a_grid_of_too_many_combinations() -> None:
    """A grid beyond any machine is refused before it is made."""
    with pytest.raises(InvalidInput, match="make 1,000,000,000,000 combinations, expected at most 10,000; name fewer"):
        parse_combinations([f"k{number}={','.join(map(str, range(10)))}" for number in range(12)], [], None)


def test_a_key_that_the_file_lacks(toy: Toy) -> None:
    """A key that params.yaml lacks is refused, also without a schema: all combinations would have the same results."""
    toy.write({"params.yaml": "prepare: {seed: 1}\n"})
    with pytest.raises(InvalidInput, match=r"no key 'prepare.seeed'; did you mean 'prepare.seed'\?"):
        check_combinations(parse_combinations(["prepare.seeed=1,2"], [], None), Path())
    subprocess.run(["git", "add", "params.yaml"], check=True)
    check_combinations(parse_combinations(["prepare.seed=1,2"], [], None), Path())
