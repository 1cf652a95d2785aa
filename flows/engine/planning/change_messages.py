"""Changes of a stage against its record, and their wording: `models.cnn.epochs 10 → 3`, `in changed`."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.core.redaction import mask
from flows.core.values import is_same_value

STATE_WORDS = {"modified": "changed", "deleted": "missing", "new": "new", "not in cache": "not in the cache"}
COSMETIC = "comments only"  # the state of files that have changed in comments, docstrings and formatting alone
ABSENT = object()  # in place of a parameter value that does not exist
MAX_NAMED = 3  # changes that are described one by one
MAX_VALUE_LENGTH = 40  # characters of a parameter value


@dataclass(frozen=True)
class Change:
    """A difference between a stage and its record.

    Attributes:
        name: the file, the parameter, or `the command`; empty for a statement on the whole stage.
        state: DVC's word for the difference, or `value` for a parameter with another value.
        old: the recorded value of a parameter.
        new: the present value of a parameter.
    """

    name: str
    state: str
    old: Any = ABSENT
    new: Any = ABSENT


NEVER_RUN = Change("", "not recorded yet")
ALWAYS = Change("", "always runs")
FORCED = Change("", "forced with --force")
OTHER_RESULT = Change("", "another result for the same inputs; dvc.lock names one that no cache here has")
PULL_HINT = "fetch it with `dvc pull` or `inkflow run --pull`"
DATA_FILE = ".dvc"  # ending of the address of tracked data


def missing_hint(stage: str, *, is_recorded: bool, uncached: str = "") -> str:
    """Returns how to get the missing outputs of a stage that never runs: a frozen one may never have made them.

    Args:
        stage: its address.
        is_recorded: whether dvc.lock has its outputs.
        uncached: path of a missing output that neither DVC's cache nor a remote keeps (`cache: false`); else empty.
    """
    is_data = stage.endswith(DATA_FILE)
    if not is_recorded and not is_data:
        return f"it has never run and is frozen: `dvc unfreeze {stage}` lets it run"
    if not uncached:
        return PULL_HINT
    checkout = f"DVC does not keep it (`cache: false`): `git checkout -- {shlex.quote(uncached)}`"
    return checkout if is_data else f"{checkout}, or `dvc unfreeze {stage}` lets the stage run"


def describe(change: Change) -> str:
    """Returns `change` in a few words."""
    if change.state == "value":
        return f"{change.name} {_shorten(change.old)} → {_shorten(change.new)}"
    if change.state == COSMETIC:
        return f"{COSMETIC} in {change.name}"
    return f"{change.name} {STATE_WORDS.get(change.state, change.state)}".lstrip()


def without_cosmetic(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Returns the changes that can change outputs."""
    return tuple(change for change in changes if change.state != COSMETIC)


def count_by_state(changes: Sequence[Change], kind: str) -> list[Change]:
    """Replaces several changes with the same state by one with their number: `3 outputs missing` for kind `outputs`."""
    return [group[0] if len(group) == 1 else Change(f"{len(group)} {kind}", state) for state, group in _groups(changes)]


def abbreviate(changes: Sequence[Change], kind: str) -> list[Change]:
    """Replaces many changes with the same state by one with their number: `a.py and 4 more files changed`."""
    abbreviated: list[Change] = []
    for state, group in _groups(changes):
        many = len(group) > MAX_NAMED
        abbreviated += [Change(f"{group[0].name} and {len(group) - 1} more {kind}", state)] if many else group
    return abbreviated


def name_some(names: Sequence[str]) -> str:
    """Returns the first names, and the number of the others: `a, b, c and 4 more`."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"


def abbreviate_parameters(changes: Sequence[Change]) -> list[Change]:
    """Replaces many changes of parameters by the first ones and one with the number of the others."""
    if len(changes) <= MAX_NAMED:
        return list(changes)
    return [*changes[: MAX_NAMED - 1], Change(f"{len(changes) - MAX_NAMED + 1} more parameters", "modified")]


def value_changes(key: str, old: Any, new: Any) -> Iterator[Change]:
    """Yields a change for each leaf in which two parameter values differ, and one for a value that is nowhere."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from value_changes(f"{key}.{name}", old.get(name, ABSENT), new.get(name, ABSENT))
    elif old is new is ABSENT:  # a stage names a parameter that its file does not have: DVC cannot run it
        yield Change(key, "deleted")
    elif not is_same_value(old, new):
        yield Change(key, "value", old, new)


def _groups(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    """Returns the changes of each state, in the order in which the states first occur."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.state, []).append(change)
    return list(groups.items())


def _shorten(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}"
    text = mask(str(value))  # the part of a secret that is left by a cut would be shown
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 3]}..."
