"""The text of a dvc.lock, divided into its entries: parsing it as YAML for each stage would take a second for 200."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

from dvc.utils.serialize import loads_yaml
from ruamel.yaml.error import YAMLError

EMPTY = "schema: '2.0'\nstages:\n"
# Comments; aliases, which DVC writes where params.yaml has them, with numbers that count through the whole file
FOREIGN = re.compile(r"^[#%\t]|^---|[:\-\[{,?] +[&*]\w", re.MULTILINE)


@dataclass(frozen=True)
class LockText:
    """The text of a dvc.lock in the form that DVC writes.

    Attributes:
        head: the lines up to `stages:`.
        entries: the lines of each stage's entry, by the stage's name, in their order.
        tail: the lines after the last entry.
    """

    head: str
    entries: Mapping[str, str]
    tail: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parts of `text`; None if it has another form than the one that DVC writes."""
        lines = text.splitlines(keepends=True)
        if FOREIGN.search(text) or "stages:\n" not in lines or not text.endswith("\n"):
            return None
        first = lines.index("stages:\n") + 1
        end = next((n for n in range(first, len(lines)) if not lines[n].startswith((" ", "\n"))), len(lines))
        if first < end and lines[first].startswith("   "):
            return None
        keys = list(_keys(lines, first, end))
        if None in keys:
            return None
        found = [key for key in keys if key is not None]
        blocks = pairwise([*(number for number, _ in found), end])
        entries = {name: "".join(lines[start:stop]) for (_, name), (start, stop) in zip(found, blocks, strict=True)}
        if len(entries) < len(found):  # a name that is there twice, as after a merge
            return None
        return cls("".join(lines[: found[0][0] if found else end]), entries, "".join(lines[end:]))

    def __str__(self) -> str:
        return "".join([self.head, *self.entries.values(), self.tail])

    def with_entry(self, name: str, entry: str, later: Collection[str]) -> Self | None:
        """Return the text with another entry; None if `entry` has another form than the one that DVC writes.

        Args:
            name: name of the entry's stage.
            entry: the lines of the entry, indented, which replace an earlier entry of that name.
            later: names of entries; a new entry is inserted before the first of them, else at the end.
        """
        parsed = LockText.parse(EMPTY + entry)
        if parsed is None or list(parsed.entries) != [name]:
            return None
        if name in self.entries:
            return replace(self, entries={**self.entries, name: entry})
        names = list(self.entries)
        place = next((number for number, other in enumerate(names) if other in later), len(names))
        items = list(self.entries.items())
        return replace(self, entries=dict([*items[:place], (name, entry), *items[place:]]))


def _keys(lines: list[str], first: int, end: int) -> Iterator[tuple[int, str] | None]:
    """Yield number and name of the first line of each entry; None for a line that is no mapping in block style."""
    for number in range(first, end):
        line = lines[number]
        if line.startswith("  ") and line[2] not in " :\n":
            key = line.strip().removeprefix("? ") if line.startswith("  ? ") else line.strip().removesuffix(":")
            name = _name(key) if key != line.strip() else None
            yield None if name is None else (number, name)


def _name(key: str) -> str | None:
    """Return the name that a key has in YAML; None if it is not one line of YAML."""
    try:
        return str(loads_yaml(key)) if key[0] in "'\"" else key
    except YAMLError:  # a name with a line break, which some characters are for YAML
        return None
