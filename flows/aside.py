"""Earlier outputs of a stage, put aside while it runs and back when it fails: nothing is lost by a bad run.

A killed run leaves them aside; the next one finds the list of them and puts them back before it starts.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from stages.files import write_json

FOLDER = Path(".inkflow/aside")
LIST = "paths.json"


def put_aside(root: Path, stage: str, paths: Sequence[str]) -> None:
    """Move what lies at `paths` below `root` out of the way of `stage`."""
    folder = _folder(root, stage)
    shutil.rmtree(folder, ignore_errors=True)
    there = [path for path in paths if (root / path).exists() or (root / path).is_symlink()]
    write_json(folder / LIST, {"paths": there})
    for number, path in enumerate(there):
        (root / path).rename(folder / str(number))


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


def _put_back(root: Path, folder: Path) -> None:
    for number, path in enumerate(_listed(folder)):
        if (folder / str(number)).exists():  # else the run was killed before it was moved
            _remove(root / path)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / str(number)).rename(root / path)
    shutil.rmtree(folder, ignore_errors=True)


def _listed(folder: Path) -> list[str]:
    try:
        return [str(path) for path in json.loads((folder / LIST).read_text(encoding="utf-8"))["paths"]]
    except (OSError, ValueError, KeyError):
        return []  # killed before the list was whole, and so before anything was moved


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folder(root: Path, stage: str) -> Path:
    return root / FOLDER / quote(stage, safe="")
