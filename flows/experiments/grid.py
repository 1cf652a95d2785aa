"""The combinations of a sweep: parsed from `--grid`, `--list` and `--from`, each with a name of its own."""

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.core.params_edit import edited_params, parse_settings
from stages.base.errors import InvalidInput

LONGEST_NAME = 100  # of an experiment: a file name below .git
ODD = re.compile(r"[^A-Za-z0-9_=,.+-]+|\.{2,}|\.lock\b")  # not for a git reference, or not for a shell


@dataclass(frozen=True)
class Combination:
    """Values for some keys of params.yaml, tried together."""

    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people: `models.cnn.learning_rate=0.001 models.cnn.batch_size=32`."""
        return " ".join(f"{key}={_text(value)}" for key, value in self.settings.items())

    @property
    def experiment(self) -> str:
        """Name of the DVC experiment, the same each time: `learning_rate=0.001,batch_size=32`."""
        short = [key.rpartition(".")[2] for key in self.settings]
        keys = short if len(set(short)) == len(short) else list(self.settings)
        plain = ",".join(f"{key}={_text(value)}" for key, value in zip(keys, self.settings.values(), strict=True))
        name = ODD.sub("_", plain).strip("-.")
        if name == plain and len(name) <= LONGEST_NAME:
            return name
        return f"{name[:LONGEST_NAME]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


def combinations(grid: Sequence[str], listed: Sequence[str], file: Path | None) -> list[Combination]:
    """Each of the listed combinations with each cell of the grid; each once.

    Raises:
        InvalidInput: nothing is asked for, or something is not as it should be.
    """
    lines = [*listed, *(_lines(file) if file else ())]
    if not (grid or lines):
        raise InvalidInput("nothing to sweep over; say what, for example --grid models.cnn.batch_size=32,128")
    bases = [_base(line) for line in lines] or [{}]
    axes = dict(_axis(text) for text in grid)
    if len(axes) < len(grid):
        raise InvalidInput("--grid: a key is given twice; give all its values at once: KEY=V1,V2")
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    doubled = next((key for base in bases for key in base if key in axes), None)
    if doubled:
        raise InvalidInput(f"{doubled} is both in --grid and in --list or --from; give it once")
    found = [Combination(base | cell) for base in bases for cell in cells]
    return list({_identity(combination.settings): combination for combination in found}.values())


def check(found: Sequence[Combination], root: Path) -> None:
    """See that each combination can be put into the params.yaml below `root`; nothing is written.

    Raises:
        InvalidInput: the first that cannot, and why.
    """
    for combination in found:
        try:
            edited_params(combination.settings, root)
        except InvalidInput as error:
            raise InvalidInput(f"{combination.name}: {_without_option(error)}") from error


def _axis(text: str) -> tuple[str, list[Any]]:
    """`KEY=V1,V2` as the key and its values, which are read as YAML: `[4, 8],[8, 16]` are two lists."""
    key, equals, values = text.partition("=")
    if not (key and equals and values.strip()):
        raise InvalidInput(f"--grid {text}: expected KEY=V1,V2, for example models.cnn.batch_size=32,128")
    try:
        return key, list(YAML(typ="safe", pure=True).load(f"[{values}]"))
    except (YAMLError, ValueError) as error:  # as in flows.core.params_edit
        raise InvalidInput(f"--grid {text}: {values!r} are not YAML values with commas between them") from error


def _base(line: str) -> dict[str, Any]:
    try:
        return parse_settings(shlex.split(line))
    except (InvalidInput, ValueError) as error:
        raise InvalidInput(f"combination {line!r}: {_without_option(error)}") from error


def _lines(path: Path) -> list[str]:
    """Lines of a file with combinations, without comments."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--from {path} cannot be read: {error}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _identity(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).replace('"', "")


def _without_option(error: Exception) -> str:
    """The sentence of an error without the name of an option that nobody gave."""
    return str(error).removeprefix("--set ")
