"""DVC's list of the files that processes use, `.dvc/tmp/rwlock`: finds the other processes that use a file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flows.engine.processes.process_trees import lives
from stages.base.files import parse_json

LIST = Path(".dvc/tmp/rwlock")


class Use(NamedTuple):
    """A file in use: its path, and the id and the command of the process that uses it."""

    path: str
    pid: int
    command: str


def overlap(one: str, other: str) -> bool:
    """True when the paths are equal or one lies within the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def find_foreign_use(listed: Path, kind: str, paths: Sequence[str]) -> Use | None:
    """Returns the use of one of `paths` by another process that lives; None if there is none. Changes nothing.

    Args:
        listed: the list.
        kind: `read` or `write`.
        paths: absolute paths.
    """
    uses, written_s = read_uses(listed, kind)
    for use in uses:
        is_foreign = use.pid != os.getpid() and any(overlap(use.path, path) for path in paths)
        if is_foreign and lives(use.pid, written_s, use.command):
            return use
    return None


def read_uses(listed: Path, kind: str) -> tuple[list[Use], float]:
    """Returns the uses of one kind in a list, also those of dead processes, and when the list was written."""
    try:
        content: dict[str, Any] = parse_json(listed.read_text(encoding="utf-8")).get(kind, {})
        infos = [(path, info) for path, use in content.items() for info in (use if kind == "read" else [use])]
        return [Use(path, int(info["pid"]), str(info["cmd"])) for path, info in infos], listed.stat().st_mtime
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return [], 0.0  # there is no list, or DVC does not accept it, and says so
