"""What a stage reads, frozen when it begins and compared when it ends."""

from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.stage import Stage as DvcStage

Snapshot = dict[str, Any]
STAMP = "time of "  # a file that was edited and put back has its content again, but not its time


def inputs_of(stage: DvcStage) -> Snapshot:
    """What stage reads: content hash and time of each file or folder, value of each parameter."""
    found: Snapshot = {}
    for dep in stage.deps:
        value = dep.hash_info.value
        if isinstance(value, dict):
            file = "" if str(dep) == ParamsDependency.DEFAULT_PARAMS_FILE else f"{dep}:"
            found |= {f"{file}{key}": content for key, content in value.items()}
            continue
        found[str(dep)] = value
        found[f"{STAMP}{dep}"] = _time_of(dep)
    return found


def _time_of(dep: Any) -> int:
    """When the file, or the newest file in the folder, was written; 0 for what is not here.

    Files that DVC ignores are no inputs: a stage that imports its modules writes `__pycache__` beside them.
    """
    files = dep.repo.dvcignore.find(dep.fs, dep.fs_path) if Path(dep.fs_path).is_dir() else [dep.fs_path]
    return max((file.stat().st_mtime_ns for file in map(Path, files) if file.is_file()), default=0)


def changes_between(before: Snapshot, after: Snapshot) -> list[str]:
    """Names of what is not the same in both."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return list(dict.fromkeys(key.removeprefix(STAMP) for key in keys))
