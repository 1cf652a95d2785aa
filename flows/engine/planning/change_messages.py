"""Why a stage is not as recorded, in words: `models.cnn.epochs 10 → 3`, `stages/train/training.py changed`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORDS = {"modified": "changed", "deleted": "missing", "new": "new", "not in cache": "not in the cache"}
ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One thing that is not as recorded: a file, a parameter, the command."""

    what: str
    state: str
    old: Any = ABSENT
    new: Any = ABSENT


NAMED = 3  # files that are named one by one

NEVER_RUN = Change("it", "not recorded yet")
ALWAYS = Change("it", "always runs")
FORCED = Change("--force", "asked for")
HOW_TO_GET = "`dvc pull` or `inkflow run --pull` brings it"


def sentence(change: Change) -> str:
    """`change` in a few words."""
    if change in (NEVER_RUN, ALWAYS):
        return change.state
    if change.state == "value":
        return f"{change.what} {_shown(change.old)} → {_shown(change.new)}"
    return f"{change.what} {WORDS.get(change.state, change.state)}"


def summed_up(changes: Sequence[Change], kind: str) -> list[Change]:
    """`changes` of several things of one kind, such as outputs, as one for each state."""
    states = dict.fromkeys(change.state for change in changes)
    groups = [[change for change in changes if change.state == state] for state in states]
    return [group[0] if len(group) == 1 else Change(f"{len(group)} {kind}", group[0].state) for group in groups]


def brief(changes: Sequence[Change], kind: str) -> list[Change]:
    """`changes` as they are, or the first of each state with the number of the others where they are many."""
    states = dict.fromkeys(change.state for change in changes)
    groups = [[change for change in changes if change.state == state] for state in states]
    return [change for group in groups for change in (group if len(group) <= NAMED else [_with_others(group, kind)])]


def few_values(changes: Sequence[Change]) -> list[Change]:
    """`changes` of parameters as they are, or the first with the number of the others where they are many."""
    if len(changes) <= NAMED:
        return list(changes)
    return [*changes[: NAMED - 1], Change(f"{len(changes) - NAMED + 1} more parameters", "modified")]


def one_and_others(names: Sequence[str]) -> str:
    """`names`, or where they are more than two the last, which in a graph is the nearest, and how many others."""
    return " and ".join(names) if len(names) <= 2 else f"{names[-1]} and {len(names) - 1} others"


def _with_others(group: Sequence[Change], kind: str) -> Change:
    return Change(f"{group[0].what} and {len(group) - 1} more {kind}", group[0].state)


def value_changes(key: str, old: Any, new: Any) -> Iterator[Change]:
    """The leaves in which two parameter values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from value_changes(f"{key}.{name}", old.get(name, ABSENT), new.get(name, ABSENT))
    elif old != new:
        yield Change(key, "value", old, new)


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, Mapping):
        return f"{{{', '.join(value)}}}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
