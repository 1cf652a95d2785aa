"""The files of the mutants: which tests must notice those of which module, and which survivors are explained."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.base.errors import InvalidInput
from tests.mutants.mutations import Mutant
from tests.support.root import ROOT

MODULES, EXPLAINED = (ROOT / "tests" / "mutants" / name for name in ("modules.toml", "explained.toml"))


@dataclass(frozen=True)
class Module:
    """A module that decides.

    Attributes:
        path: of the module.
        tests: files, folders or ids of the tests that must notice its mutants.
        without: names of tests in them that are too slow: those that start processes.
        functions: those that decide; empty for all.
    """

    path: str
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    def is_tried_by(self, item: pytest.Item) -> bool:
        """Returns whether `item` is a test that must notice the mutants."""
        is_named = any(item.nodeid.startswith(test) for test in self.tests)
        return is_named and item.name.partition("[")[0] not in self.without

    def has(self, mutant: Mutant) -> bool:
        """Returns whether the mutant is one of the functions that decide."""
        return not self.functions or mutant.function in self.functions


@dataclass(frozen=True)
class Explanation:
    """A mutant that no test can notice: the same function and the same changed lines.

    Attributes:
        function: of the mutant.
        was: its changed lines before.
        now: its changed lines after.
        why: it is equivalent or harmless, or it loops.
        loops: with it a test does not end, or another one fails first.
    """

    function: str
    was: str
    now: str
    why: str
    loops: bool = False

    def explains(self, mutant: Mutant) -> bool:
        """Returns whether `mutant` is the one that is explained."""
        return (self.function, self.was, self.now) == (mutant.function, mutant.was, mutant.now)


def modules(path: Path = MODULES) -> dict[str, Module]:
    """Returns the modules that decide, by path."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Module(name, **{key: tuple(value) for key, value in item.items()}) for name, item in content.items()}


def explanations(path: Path = EXPLAINED) -> dict[str, list[Explanation]]:
    """Returns the explained survivors by module."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: [Explanation(**item) for item in items] for name, items in content.items()}


def chosen(words: Sequence[str], known: Mapping[str, Module]) -> list[Module]:
    """Returns the modules that `words` name: by path, or by the start of one; all without words.

    Raises:
        InvalidInput: a word names none.
    """
    found: dict[str, Module] = {}
    for word in words or [""]:
        start = word.removesuffix(".py")
        some = {path: module for path, module in known.items() if path.startswith(start)}
        if not some:
            raise InvalidInput(f"no module in tests/mutants/modules.toml begins with {word!r}: {', '.join(known)}")
        found |= some
    return list(found.values())
