"""Records the environment of each stage's outputs: in `environment.lock` for git, and in DVC's cache by content.

`environment.lock` lies beside execution.yaml and travels with dvc.lock. DVC refuses further keys in dvc.lock and in its
run cache. An entry holds for the outputs whose digest it has: after a `dvc repro` that changed them it says nothing.
The cache has the environment of each result that was made with it, so that a restored result is known too.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.core.project import conflict_message
from stages.base.errors import InvalidInput, OutputError
from stages.base.files import parse_json, remove_abandoned, write_text

LOCK = "environment.lock"
HISTORY = "environments"  # in DVC's cache; names of DVC's own folders have two characters
DIGEST = "outputs"  # key of an entry: the digest of the outputs for which it holds

Environment = Mapping[str, str]


class EnvironmentRecords:
    """The records of one project; the caller holds DVC's lock while it writes."""

    def __init__(self, root: Path, cache: Path, make_folder: Callable[[str], object] = os.mkdir) -> None:
        """Open the records of the project at `root` with a DVC cache, in which `make_folder` makes a missing folder."""
        self._path = root / LOCK
        self._history = cache / HISTORY
        self._make_folder = make_folder
        remove_abandoned(self._history)  # what killed runs were writing
        self._entries: dict[str, dict[str, str]] = {}
        self._version: tuple[int, int] | None = None  # time and size of the file when it was read

    def names(self) -> set[str]:
        """Return all names of which environment.lock has a version."""
        return {name for entry in self._read().values() for name in entry if name != DIGEST}

    def of(self, stage: str, outputs: Mapping[str, str]) -> Environment:
        """Return the environment in which `outputs`, hashes by path, of `stage` were made; empty if it is not known."""
        entry = self._read().get(stage, {})
        if entry.get(DIGEST) == _digest(outputs):
            return {name: value for name, value in entry.items() if name != DIGEST}
        with suppress(OSError, ValueError):
            content = parse_json((self._history / _digest(outputs)).read_text(encoding="utf-8"))
            return {str(name): str(value) for name, value in content.items()} if isinstance(content, dict) else {}
        return {}

    def add(self, stage: str, outputs: Mapping[str, str], environment: Environment) -> bool:
        """Record the environment in which `stage` has just made `outputs`, in the cache too; see `put`."""
        if environment:
            with suppress(OSError, OutputError):  # in a read-only cache
                if not self._history.exists():
                    self._make_folder(str(self._history))
                write_text(self._history / _digest(outputs), json.dumps(environment, sort_keys=True))
        return self.put(stage, outputs, environment)

    def put(self, stage: str, outputs: Mapping[str, str], environment: Environment) -> bool:
        """Write the entry of a stage, or remove it if the environment is empty; return True if the file changed."""
        entries = dict(self._read())
        entry = {DIGEST: _digest(outputs), **dict(sorted(environment.items()))} if environment else None
        if entries.get(stage) == entry:
            return False
        if entry is None:
            del entries[stage]
        else:
            entries[stage] = entry
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(entries.items())]
        write_text(self._path, "{\n" + ",\n".join(lines) + "\n}\n" if lines else "{}\n")
        return True

    def _read(self) -> Mapping[str, dict[str, str]]:
        """The entries by stage.

        Raises:
            InvalidInput: the file cannot be read.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._entries, self._version = {}, None
            return self._entries
        version = status.st_mtime_ns, status.st_size
        if version != self._version:
            self._entries, self._version = _parse(self._path), version
        return self._entries


def _parse(path: Path) -> dict[str, dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
        if conflict := conflict_message(LOCK, text.encode()):
            raise InvalidInput(conflict)
        content: Any = json.loads(text or "{}")
        if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
            raise ValueError("expected an object with an object for each stage")
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{LOCK} cannot be read ({error}); take it from git with `git checkout {LOCK}`, or delete it"
        ) from error
    return {stage: {str(key): str(value) for key, value in entry.items()} for stage, entry in content.items()}


def _digest(outputs: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(outputs.items())).encode()).hexdigest()[:32]
