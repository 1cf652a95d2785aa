"""Earlier outputs of a stage, put aside while it runs and back when it fails: nothing is lost by a bad run.

A killed run leaves them aside; the next one finds the list of them and puts them back before it starts. When dvc.lock
has another entry for the stage by then, as after a `dvc repro`, they are the older ones and are thrown away.
"""

import errno
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stages.base.files import write_json

FOLDER = Path(".inkflow/aside")
LIST = "paths.json"


def put_aside(root: Path, stage: str, paths: Sequence[str]) -> None:
    """Move what lies at `paths` below `root` out of the way of `stage`."""
    folder = _folder(root, stage)
    shutil.rmtree(folder, ignore_errors=True)
    there = [path for path in paths if os.path.lexists(root / path)]
    write_json(folder / LIST, {"paths": there, "stage": stage, "entry": _entry(root, stage)})
    for number, path in enumerate(there):
        _move(root / path, folder / str(number))


def put_back(root: Path, stage: str) -> None:
    """Move what was put aside for `stage` back, in the place of what a failed run left there."""
    _put_back(root, _folder(root, stage))


def anything_aside(root: Path) -> bool:
    """True while stages run here, and after a run that was killed."""
    return (root / FOLDER).is_dir() and any((root / FOLDER).iterdir())


def put_all_back(root: Path) -> None:
    """Put back what a killed run left aside."""
    with suppress(FileNotFoundError):
        for folder in list((root / FOLDER).iterdir()):
            _put_back(root, folder)


def forget(root: Path, stage: str) -> None:
    """Remove what was put aside for `stage`, which ended well."""
    shutil.rmtree(_folder(root, stage), ignore_errors=True)


def is_outdated(root: Path, stage: str) -> bool:
    """True when somebody else recorded `stage` since its outputs were put aside: what lies there now is newer."""
    return _is_outdated(root, _folder(root, stage))


def _put_back(root: Path, folder: Path) -> None:
    paths = [] if _is_outdated(root, folder) else _listed(folder)["paths"]
    for number, path in enumerate(paths):
        if os.path.lexists(folder / str(number)):  # else the run was killed before it was moved
            _remove(root / path)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            _move(folder / str(number), root / path)
    shutil.rmtree(folder, ignore_errors=True)


def _is_outdated(root: Path, folder: Path) -> bool:
    noted = _listed(folder)
    return "entry" in noted and bool(noted["entry"] != _entry(root, noted["stage"]))


def _listed(folder: Path) -> dict[str, Any]:
    try:
        return {"paths": [], **json.loads((folder / LIST).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return {"paths": []}  # killed before the list was whole, and so before anything was moved


def _entry(root: Path, stage: str) -> list[str] | None:
    """Lines of the entry that dvc.lock has for `stage`; None when it has none. Read as DVC writes it: quickly."""
    file, _, name = stage.rpartition(":")
    try:
        lines = (root / (file or "dvc.yaml")).with_suffix(".lock").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    start = next((number for number, line in enumerate(lines) if _names(line, name)), None)
    if start is None:
        return None
    inside = takewhile(lambda line: not line or line.startswith("   "), lines[start + 1 :])
    return [line for line in inside if line]


def _names(line: str, stage: str) -> bool:
    return line.startswith("  ") and line[2:3] != " " and line.strip().rstrip(":").strip("'\"") == stage


def _move(source: Path, target: Path) -> None:
    """Move `source`, also to another file system: whole under its new name before it is gone under the old one."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        half = target.with_name(f".{target.name}.moving")  # a kill may leave it: then `source` is whole
        _remove(half)
        _copy(source, half)
        half.rename(target)
        _remove(source)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folder(root: Path, stage: str) -> Path:
    return root / FOLDER / quote(stage, safe="")
