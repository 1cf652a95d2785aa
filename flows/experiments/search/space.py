"""The space of a search, parsed from `--space`: ranges of numbers and lists of choices, by key of a parameter."""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from flows.core.params_edit import check_key, load_project_params
from flows.dvc_repo.params_files import leaves, read_params
from flows.edits.exact_value import exact_text
from flows.experiments.settings import check_settings, named_twice, present_value, split_key
from stages.base.errors import InvalidInput
from stages.base.shown_text import shortened
from stages.base.yaml_text import parse_yaml

EXAMPLES = "expected KEY=LOW..HIGH, with :log, :int or :step=X, or KEY=A|B, as in models.dense.units=16..256:int"
DIGITS = 6  # significant ones of a proposed number
MAX_DIGITS = 17  # more than these no number has

LOCKS = ("dvc.lock", "environment.lock")  # records of results, which each run changes


@dataclass(frozen=True)
class Choice:
    """A parameter that has one of some values.

    Attributes:
        key: the parameter, as a setting names it.
        values: the values, by their texts, which Optuna stores.
    """

    key: str
    values: Mapping[str, Any]

    @property
    def probes(self) -> list[Any]:
        """All values."""
        return list(self.values.values())

    @property
    def size(self) -> float:
        """The number of values."""
        return len(self.values)

    def setting(self, proposed: Any) -> Any:
        """Returns the value that Optuna's proposal stands for."""
        return self.values[proposed]

    def text(self) -> str:
        """Returns the choice as `--space` takes it."""
        return f"{self.key}={'|'.join(self.values)}"


@dataclass(frozen=True)
class Range:
    """A number between two bounds, both included."""

    key: str
    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = field(default=None)

    @property
    def probes(self) -> list[Any]:
        """Both bounds and a number between them."""
        return [self.setting(number) for number in (self.low, (self.low + self.high) / 2, self.high)]

    @property
    def size(self) -> float:
        """The number of values; infinite without steps."""
        step = self.step or (1 if self.integer else 0)
        return int((_exact(self.high) - _exact(self.low)) / _exact(step)) + 1 if step else math.inf

    @property
    def last(self) -> float:
        """The highest value: the upper bound, or the last step below it."""
        return self._at(int(self.size) - 1) if self.step else self.high

    def setting(self, proposed: float) -> Any:
        """Returns the proposed number as it is written.

        It is an integer, the nearest step, or within the bounds, with DIGITS significant digits of their distance.
        """
        if self.integer:
            return round(proposed)
        if self.step:
            return self._at(min(round((proposed - self.low) / self.step), int(self.size) - 1))
        largest = math.floor(math.log10(max(abs(self.low), abs(self.high))))
        common = max(0, largest - math.floor(math.log10(self.high - self.low)))  # digits that all numbers share
        return min(max(float(f"{proposed:.{min(DIGITS + common, MAX_DIGITS)}g}"), self.low), self.high)

    def _at(self, position: int) -> float:
        """Returns the value after `position` steps, as a person writes it: binary fractions would miss the last one."""
        return float(_exact(self.low) + position * _exact(self.step or 0))

    def text(self) -> str:
        """Returns the range as `--space` takes it."""
        low, high, step = (int(each) if each.is_integer() else each for each in (self.low, self.high, self.step or 0.0))
        flags = [":int" * self.integer, ":log" * self.log, f":step={step!r}" if self.step else ""]
        return f"{self.key}={low!r}..{high!r}{''.join(flags)}"


Dimension = Choice | Range


def _exact(number: float) -> Decimal:
    """Returns the decimal number that a person writes for `number`."""
    return Decimal(str(number))


def parse_space(texts: Sequence[str]) -> list[Dimension]:
    """Returns the dimensions of the options `--space`.

    Raises:
        InvalidInput: there is none, one cannot be parsed, or a key is given twice.
    """
    if not texts:
        raise InvalidInput(f"a search needs a --space: {EXAMPLES}")
    space = [_parse(text) for text in texts]
    if twice := named_twice(dimension.key for dimension in space):
        raise InvalidInput(f"--space: {twice} is given twice; give one range or one list of choices for it")
    return space


def check_space(space: Sequence[Dimension], root: Path) -> None:
    """Checks the bounds and choices of each dimension in the project at `root`; nothing is written.

    Raises:
        InvalidInput: a key does not exist, or the project's schema refuses a value.
    """
    load_project_params(root)  # mistakes that are there already belong to no dimension
    first = {dimension.key: dimension.probes[0] for dimension in space}
    for dimension in space:
        try:
            present = present_value(dimension.key, root)
        except InvalidInput as error:
            raise InvalidInput(f"--space {shortened(dimension.text())}: {error}") from error
        bounds = [dimension.low, dimension.high] if isinstance(dimension, Range) else []
        is_whole = bounds and not dimension.integer and all(number.is_integer() for number in bounds)  # type: ignore[union-attr]
        if is_whole and isinstance(present, int) and not isinstance(present, bool):
            raise InvalidInput(
                f"--space {shortened(dimension.text())}: {dimension.key} is the whole number {present} now, "
                "and this range has fractions; add :int, or write a bound with a fraction if fractions are meant"
            )
        for value in dimension.probes:
            try:
                check_settings(first | {dimension.key: value}, root)
            except InvalidInput as error:
                reason = str(error).removeprefix("--set ")
                hint = "; add :int for whole numbers" if isinstance(value, float) else ""
                raise InvalidInput(f"--space {shortened(dimension.text())}: {reason}{hint}") from error


def base_digest(entries: Iterable[str], outputs: Collection[str], space: Sequence[Dimension], root: Path) -> str:
    """Returns a digest of what all trials have in common: the project without its results and the searched values.

    Args:
        entries: git's entries of the tracked files.
        outputs: the outputs of the stages.
        space: the searched parameters.
        root: the project.
    """
    searched: dict[str, set[str]] = {}
    for dimension in space:
        file, key = split_key(dimension.key)
        searched.setdefault(file, set()).add(key)
    paths = {entry: entry.partition("\t")[2] for entry in entries}
    results = {*searched, *outputs, *(path for path in paths.values() if Path(path).name in LOCKS)}
    files = sorted(entry for entry, path in paths.items() if not _is_below(path, results))
    parameters = [
        (file, key, str(value))
        for file, keys in sorted(searched.items())
        for key, value in leaves(read_params(root / file))
        if not isinstance(value, dict | list) and not any(f"{key}.".startswith(f"{each}.") for each in keys)
    ]
    return hashlib.sha256(json.dumps([files, parameters]).encode()).hexdigest()


def _is_below(path: str, names: Collection[str]) -> bool:
    return any(str(each) in names for each in (Path(path), *Path(path).parents))


def settings_of(space: Sequence[Dimension], proposed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that Optuna's proposal stands for."""
    return {dimension.key: dimension.setting(proposed[dimension.key]) for dimension in space}


def _parse(text: str) -> Dimension:
    key, equals, values = text.partition("=")
    key, values, text = key.strip(), values.strip(), shortened(text)
    if not (key and equals and values):
        raise InvalidInput(f"--space {text}: {EXAMPLES}")
    check_key("--space", key)
    return _range(text, key, values) if ".." in values and "|" not in values else _choice(text, key, values)


def _choice(text: str, key: str, values: str) -> Choice:
    names = [name.strip() for name in values.split("|")]
    if not all(names):
        raise InvalidInput(f"--space {text}: a choice is empty; {EXAMPLES}")
    try:
        values_of = {name: parse_yaml(name) for name in names}
    except (YAMLError, ValueError) as error:
        raise InvalidInput(f"--space {text}: the choices are not YAML values with | between them") from error
    if len(set(map(exact_text, values_of.values()))) < len(names):  # also `0x10|16`
        raise InvalidInput(f"--space {text}: a choice is given twice; name each value once")
    if len(names) == 1:
        raise InvalidInput(f"--space {text}: one value is nothing to search; {EXAMPLES}")
    return Choice(key, values_of)


def _range(text: str, key: str, values: str) -> Range:
    low_text, _, rest = values.partition("..")
    high_text, *flags = (part.strip() for part in rest.split(":"))
    unknown = next((flag for flag in flags if flag not in ("log", "int") and not flag.startswith("step=")), None)
    if unknown is not None or len(set(flags)) < len(flags):
        raise InvalidInput(
            f"--space {text}: got :{shortened(unknown or flags[0])}, expected :log, :int or :step=X, each once"
        )
    steps = [flag.removeprefix("step=") for flag in flags if flag.startswith("step=")]
    try:
        low, high, *step = (float(number) for number in (low_text, high_text, *steps[:1]))
    except ValueError as error:
        raise InvalidInput(f"--space {text}: the bounds and the step are not all numbers; {EXAMPLES}") from error
    found = Range(key, low, high, "log" in flags, "int" in flags, step[0] if step else None)
    problem = _problem(found)
    if problem:
        raise InvalidInput(f"--space {text}: {problem}")
    return found


def _problem(found: Range) -> str:
    """Returns what is wrong with a range; empty if nothing is."""
    numbers = [found.low, found.high, *([] if found.step is None else [found.step])]
    if not all(math.isfinite(number) for number in (*numbers, found.high - found.low)):
        return "bounds, their distance and the step have to be finite numbers"
    if found.low >= found.high:
        return f"the lower bound {found.low:g} is not below the upper bound {found.high:g}; write LOW..HIGH"
    if found.log and found.low <= 0:
        return f"a logarithmic range begins above 0, got {found.low:g}; raise the lower bound or leave :log out"
    if found.integer and not all(number.is_integer() for number in numbers):
        return "a range of whole numbers has whole bounds and a whole step; correct them or leave :int out"
    if found.step is not None and found.log:
        return ":step and :log exclude each other; leave one out"
    if found.step is not None and not 0 < _exact(found.step) <= _exact(found.high) - _exact(found.low):
        return f"the step is above 0 and at most {found.high - found.low:g}, got {found.step:g}"
    return ""
