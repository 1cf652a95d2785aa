"""Finds the earlier outputs of stages that are running: a run moves them aside until the new ones are complete.

models/cnn/model.onnx  ->  .inkflow/aside/STAGE/outputs/models/cnn/model.onnx
"""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stages.base.files import exists
from stages.base.streams import tell

ASIDE, OUTPUTS = Path(".inkflow/aside"), "outputs"
KEPT = Path(".inkflow/models")  # in it, the folders of registered models
LIST = "paths.json"  # of a backup: locked by the run while the stage runs
T = TypeVar("T")


def readable(path: Path) -> Path:
    """Returns the complete version of an output: `path`, or the earlier one while a stage makes it again."""
    place = path.absolute()
    for root in place.parents:
        for backup in (root / ASIDE).glob(f"*/{OUTPUTS}") if exists(root / ASIDE) else ():
            earlier = backup / place.relative_to(root)
            if exists(earlier) and (_is_locked(backup.parent / LIST) or not exists(place)):
                return earlier
    return path


def use_readable(find: Callable[[], Path], use: Callable[[Path], T]) -> T:
    """Returns `use(find())`; calls both again if a run has moved or replaced the file meanwhile.

    Says on standard error that an earlier output is used.
    """
    while True:
        path = find()
        before = _identity(path)
        try:
            result = use(path)
        except Exception:
            if _identity(path) == before:
                raise
            continue
        if _identity(path) == before:
            if path != original(path):
                tell(f"{original(path)} is being made again by a run; the earlier one is used")
            return result


def original(path: Path) -> Path:
    """Returns the place in the project of an output, also for the earlier version that `readable` returns."""
    parts = path.parts
    start = parts.index(ASIDE.parts[0]) if ASIDE.parts[0] in parts else len(parts)
    is_aside = parts[start : start + 2] == ASIDE.parts and parts[start + 3 : start + 4] == (OUTPUTS,)
    return Path(*parts[:start], *parts[start + 4 :]) if is_aside else path


def project_of(path: Path) -> Path:
    """Returns the folder of the project to which the file of a model belongs.

    ROOT/models/cnn/model.onnx                                      ->  ROOT
    ROOT/.inkflow/models/cnn@v0.1.0/model.onnx                      ->  ROOT
    ROOT/.inkflow/aside/STAGE/outputs/models/cnn/model.onnx         ->  ROOT
    """
    place = original(path.absolute())
    depth = 3 if place.parts[-4:-2] == KEPT.parts else 2
    return place.parents[min(depth, len(place.parents) - 1)]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _is_locked(path: Path) -> bool:
    """Returns whether the stage runs: a killed run leaves outputs aside, which others may have made since."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
