"""The combinations of a sweep, parsed from `--grid`, `--list` and `--from`, and their names."""

import functools
import hashlib
import itertools
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from flows.core.params_edit import PATH, check_key, load_project_params, parse_settings
from flows.edits.exact_value import exact_text
from flows.experiments.settings import check_settings, identity, named_twice, split_key
from stages.base.errors import InvalidInput
from stages.base.shown_text import shortened
from stages.base.yaml_text import parse_yaml

MAX_COMBINATIONS = 10_000  # each of them is a run
MAX_NAME_LENGTH = 100  # git stores an experiment in a file of that name
EMPTY = "a combination is empty; expected KEY=VALUE, for example models.cnn.batch_size=32"
UNSAFE = re.compile(r"[^A-Za-z0-9_=,.+-]+|\.{2,}|\.lock\b")  # not valid in a git reference, or special in a shell


@dataclass(frozen=True)
class Combination:
    """Values for some keys of params.yaml, or of other files as `FILE:KEY`, used together."""

    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name for messages: `models.cnn.learning_rate=0.001 models.cnn.batch_size=32`."""
        return " ".join(f"{key}={_format(value)}" for key, value in self.settings.items())

    def experiment(self, known: Collection[str]) -> str:
        """Name of the DVC experiment, equal for equal settings: `cnn.learning_rate=0.001,batch_size=32`.

        Args:
            known: dotted keys of all parameters; a key is shortened to its last parts, as long as no other has them.
        """
        counts = Counter(suffix for key in {*known, *self.settings} for suffix in _suffixes(key))
        short = {key: next((suffix for suffix in _suffixes(key) if counts[suffix] == 1), key) for key in self.settings}
        plain = ",".join(f"{short[key]}={_format(value)}" for key, value in self.settings.items())
        name = UNSAFE.sub("_", plain).strip("-.")
        if name == plain and len(name) <= MAX_NAME_LENGTH:
            return name
        return f"{name[:MAX_NAME_LENGTH]}-{hashlib.sha256(self.name.encode(errors='surrogateescape')).hexdigest()[:8]}"


def parameter_keys(root: Path) -> list[str]:
    """Returns the dotted keys of all parameters in the params.yaml below `root`, sections included."""
    path = root / PATH
    return list(_keys(parse_yaml(path.read_text(encoding="utf-8")))) if path.exists() else []


def _keys(content: Any, parent: str = "") -> Iterator[str]:
    items: Iterable[tuple[Any, Any]] = content.items() if isinstance(content, dict) else ()
    for name, value in enumerate(content) if isinstance(content, list) else items:
        yield f"{parent}{name}"
        yield from _keys(value, f"{parent}{name}.")


def _suffixes(key: str) -> list[str]:
    """Returns the ends of a dotted key, the shortest first: `c`, `b.c`, `a.b.c`."""
    parts = split_key(key)[1].split(".")
    return [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def parse_combinations(grid: Sequence[str], listed: Sequence[str], file: Path | None) -> list[Combination]:
    """Return each listed combination, from arguments or from `file`, with each cell of the grid, without duplicates.

    Raises:
        InvalidInput: there is no combination, or one cannot be parsed.
    """
    lines = [*listed, *(_read_lines(file) if file else ())]
    if not (grid or lines):
        raise InvalidInput("nothing to sweep over; name values, for example --grid models.cnn.batch_size=32,128")
    bases = [_parse_line(line) for line in lines] or [{}]
    axes = [_parse_axis(text) for text in grid]
    names = [key for key, _ in axes]
    if named_twice(names):
        raise InvalidInput("--grid: a key is given twice; give all its values at once: KEY=V1,V2")
    if (count := math.prod(len(values) for _, values in axes) * len(bases)) > MAX_COMBINATIONS:
        raise InvalidInput(
            f"these values make {count:,} combinations, expected at most {MAX_COMBINATIONS:,}; name fewer"
        )
    cells = [dict(zip(names, row, strict=True)) for row in itertools.product(*(values for _, values in axes))]
    duplicate = next(filter(None, (named_twice([*names, *base]) for base in bases)), "")
    if duplicate:
        raise InvalidInput(f"{duplicate} is both in --grid and in --list or --from; give it once")
    combinations = [Combination(base | cell) for base in bases for cell in cells]
    return list({identity(combination.settings): combination for combination in combinations}.values())


def check_combinations(combinations: Sequence[Combination], root: Path) -> None:
    """Check that each combination is valid in the project at `root`; nothing is written.

    Raises:
        InvalidInput: the first combination that is not, or that has no parameter, with the reason.
    """
    load_project_params(root)  # mistakes that are there already belong to no combination
    for combination in combinations:
        if not combination.settings:
            raise InvalidInput(EMPTY)
        if twice := named_twice(combination.settings):
            raise InvalidInput(f"{shortened(combination.name)}: {twice} is given twice; give it once")
        try:
            check_settings(combination.settings, root)
        except InvalidInput as error:
            raise InvalidInput(f"{shortened(combination.name)}: {_message(error)}") from error


def _parse_axis(text: str) -> tuple[str, list[Any]]:
    """Key and values of `KEY=V1,V2`. Values are YAML: `[4, 8],[8, 16]` are two lists."""
    key, equals, values = text.partition("=")
    if not (key and equals and values.strip()):
        raise InvalidInput(f"--grid {shortened(text)}: expected KEY=V1,V2, for example models.cnn.batch_size=32,128")
    check_key("--grid", key)
    try:
        return key, list(parse_yaml(f"[{values}]"))
    except (YAMLError, ValueError) as error:  # ValueError: an invalid date or number
        raise InvalidInput(
            f"--grid {key}: {shortened(values)!r} are not YAML values with commas between them"
        ) from error


def _parse_line(line: str) -> dict[str, Any]:
    if not line.strip():
        raise InvalidInput(EMPTY)
    try:
        words = shlex.split(line)
        settings = parse_settings(words)
        if twice := named_twice(word.partition("=")[0] for word in words):
            raise InvalidInput(f"{twice} is given twice; give it once")
        return settings
    except (InvalidInput, ValueError) as error:
        raise InvalidInput(f"combination {shortened(line)!r}: {_message(error)}") from error


def _read_lines(path: Path) -> list[str]:
    """Lines of a file with combinations, without blank lines and comments."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--from {path} cannot be read: {error}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _format(value: Any) -> str:
    """Returns a value without quotes, unless it would then be read as another one: `1`, and `"1"` for the text."""
    quoted = json.dumps(value, default=str)
    plain = value if isinstance(value, str) else quoted.replace('"', "")
    return quoted if '"' in quoted and _read_as(plain) not in (exact_text(value), "") else plain


@functools.lru_cache(maxsize=MAX_COMBINATIONS)
def _read_as(text: str) -> str:
    """Returns the exact text of the YAML value in `text`; empty if it is none."""
    try:
        return exact_text(parse_yaml(text))
    except (YAMLError, ValueError):
        return ""


def _message(error: Exception) -> str:
    """Message of an error without the option `--set`, which is not used here."""
    return str(error).removeprefix("--set ")
