"""Snapshots of a stage's inputs: taken when the stage starts, and compared when it ends."""

from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.stage import Stage as DvcStage

Snapshot = dict[str, Any]
MTIME = "time of "  # key prefix; a file that was edited and reverted has its old content, but a new modification time


def take_snapshot(stage: DvcStage) -> Snapshot:
    """Return the hash and modification time of each input file or folder, and the value of each parameter."""
    snapshot: Snapshot = {}
    for dep in stage.deps:
        value = dep.hash_info.value
        if isinstance(value, dict):
            file = "" if str(dep) == ParamsDependency.DEFAULT_PARAMS_FILE else f"{dep}:"
            snapshot |= {f"{file}{key}": content for key, content in value.items()}
            continue
        snapshot[str(dep)] = value
        snapshot[f"{MTIME}{dep}"] = _mtime_ns(dep)
    return snapshot


def _mtime_ns(dep: Any) -> int:
    """Modification time of the file, or of the newest file in the folder; 0 when it does not exist locally.

    Files that DVC ignores are no inputs: a stage that imports its modules writes `__pycache__` beside them.
    """
    files = dep.repo.dvcignore.find(dep.fs, dep.fs_path) if Path(dep.fs_path).is_dir() else [dep.fs_path]
    return max((file.stat().st_mtime_ns for file in map(Path, files) if file.is_file()), default=0)


def changed_inputs(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the names of the inputs that differ between two snapshots."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return list(dict.fromkeys(key.removeprefix(MTIME) for key in keys))
