"""Why results of two machines differ: environment.lock of both, and what the trainings record of their device."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.engine.environment.grades import PROCESSOR
from flows.engine.environment.records import EnvironmentRecords
from flows.machines.records import Difference
from flows.machines.sources import ENVIRONMENT
from stages.base.errors import InvalidInput
from stages.base.files import parse_json

# Keys of training.json that say where a training ran, and not what came of it.
MACHINE_KEYS = ("device", "threads", "precision", "versions", "environment")
UNKNOWN = "not recorded"
SETS = re.compile(r"(?P<kind>.*?) with (?P<sets>.+)")


@dataclass(frozen=True)
class Environments:
    """The environment of a stage's results on both sides, by name; empty where it is not recorded."""

    here: Mapping[str, str]
    there: Mapping[str, str]

    def differences(self) -> list[Difference]:
        """Returns the names whose values differ, those that only one side recorded included."""
        if not (self.here or self.there):
            return []
        names = dict.fromkeys([*self.here, *self.there])
        pairs = {name: (self.here.get(name, UNKNOWN), self.there.get(name, UNKNOWN)) for name in names}
        return [
            Difference("environment", name, *(_instruction_sets(*pair) if name == PROCESSOR else pair))
            for name, pair in pairs.items()
            if pair[0] != pair[1]
        ]


def _instruction_sets(here: str, there: str) -> tuple[str, str]:
    """Returns two classes of processors; of one kind, only the instruction sets that one of them alone has."""
    one, other = SETS.fullmatch(here), SETS.fullmatch(there)
    if not (one and other) or one["kind"] != other["kind"]:
        return here, there
    sets = [match["sets"].split(", ") for match in (one, other)]
    alone = [[name for name in own if name not in others] for own, others in (sets, reversed(sets))]
    texts = [f"{one['kind']} with {', '.join(names)}" if names else f"{one['kind']} without" for names in alone]
    return texts[0], texts[1]


def recorded_environments(
    root: Path, cache: Path, content: bytes | None, folder: Path
) -> Callable[[str, Mapping[str, str], Mapping[str, str]], Environments]:
    """Returns a function from a stage and its outputs here and there, hashes by path, to their environments.

    Args:
        root: the project's folder.
        cache: DVC's cache, which knows the environments of results made with it.
        content: environment.lock of the other machine; None without one.
        folder: an empty folder for it.

    Raises:
        InvalidInput: environment.lock of the project cannot be read.
    """
    own = EnvironmentRecords(root, cache)
    own.names()  # reads the file, or fails
    if content is not None:
        (folder / ENVIRONMENT).write_bytes(content)
    other = EnvironmentRecords(folder, cache)
    try:
        other.names()
    except InvalidInput as error:
        raise InvalidInput(f"--against: the other machine's records: {error}") from error

    def find(stage: str, here: Mapping[str, str], there: Mapping[str, str]) -> Environments:
        return Environments(own.of(stage, here), other.of(stage, there))

    return find


def training_facts(path: Path) -> dict[str, str]:
    """Returns where a training ran, from its training.json: device, threads, precision, versions, variables."""
    content = _read(path)
    found: dict[str, str] = {}
    for key in MACHINE_KEYS:
        value = content.get(key)
        items = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{key} {name}".strip(): str(item) for name, item in items if item is not None}
    return found


def same_but_machine(one: Path, other: Path) -> bool:
    """Returns whether two files training.json differ in nothing but where the training ran."""
    contents = [{key: value for key, value in _read(path).items() if key not in MACHINE_KEYS} for path in (one, other)]
    return bool(contents[0]) and contents[0] == contents[1]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
