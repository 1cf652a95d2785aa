"""Settings of a trial: `KEY` is a key of params.yaml, `FILE:KEY` one of another file with parameters."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from flows.core.git import git_succeeds, is_in_repository
from flows.core.params_edit import PATH, apply_settings, edit_params, has_schema
from flows.dvc_repo.params_files import MAX_KEYS, leaves, read_params, write_params
from flows.edits.exact_value import exact_text
from stages.base.errors import InvalidInput
from stages.base.suggestions import unknown_name_message

FILE_KEY = re.compile(r"([^:]+\.(?:yaml|yml|json|toml|py)):(.+)")


def split_key(key: str) -> tuple[str, str]:
    """Returns the file and the key in it: `("params.yaml", "lr")` for `lr`, `("a.json", "lr")` for `a.json:lr`."""
    match = FILE_KEY.fullmatch(key)
    return (os.path.normpath(match[1]), match[2]) if match else (str(PATH), key)


def files_of(settings: Mapping[str, Any]) -> set[str]:
    """Returns the files that `settings` change."""
    return {split_key(key)[0] for key in settings}


def by_file(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the settings of each file, by their keys in it."""
    files: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        file, inner = split_key(key)
        files.setdefault(file, {})[inner] = value
    return files


def identity(settings: Mapping[str, Any]) -> str:
    """Returns a text that is equal for settings of the same keys to the same values of the same types."""
    return exact_text({"\0".join(split_key(key)): value for key, value in settings.items()})


def named_twice(keys: Iterable[str]) -> str:
    """Returns a key that names the same parameter as one before it: `params.yaml:lr` is `lr`; empty without one."""
    seen: set[tuple[str, str]] = set()
    for key in keys:
        if split_key(key) in seen:
            return key
        seen.add(split_key(key))
    return ""


def apply_to_files(settings: Mapping[str, Any], root: Path) -> None:
    """Writes `settings` into the files of the project at `root`.

    Raises:
        InvalidInput: a file is outside of the project, a file or a key does not exist, or params.yaml would have
            mistakes.
    """
    files = by_file(settings)
    _check_places(files, root)
    for file, inner in files.items():
        if file == str(PATH):
            apply_settings(inner, root)
        else:
            write_params(root / file, inner)


def check_settings(settings: Mapping[str, Any], root: Path) -> None:
    """Checks that `settings` could be written in a clone of the project; writes nothing.

    Raises:
        InvalidInput: a file is outside of the project or not tracked by git, a file or a key does not exist, or
            params.yaml would have mistakes.
    """
    files = by_file(settings)
    _check_places(files, root)
    for file, inner in files.items():
        if file == str(PATH):
            if (root / PATH).exists():
                for key in inner:
                    present_value(key, root)  # else a misspelt key would be added, and all trials be the same
            edit_params(inner, root)
            _check_tracked(file, root.resolve())
            continue
        read_params(root / file)
        _check_tracked(file, root.resolve())
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(file).name
            shutil.copyfile(root / file, copy)
            write_params(copy, inner)


def present_value(key: str, root: Path) -> Any:
    """Returns the value at `key` in the project at `root`; None if a schema may know a key that the file lacks.

    Raises:
        InvalidInput: there is no such file in the project, or no such key.
    """
    file, inner = split_key(key)
    _check_places([file], root)
    values = dict(leaves(read_params(root / file)))
    if inner not in values and not (file == str(PATH) and has_schema(root)):
        raise InvalidInput(f"{file}: {unknown_name_message('key', inner, list(values)[:MAX_KEYS])}")
    return values.get(inner)


def _check_places(files: Iterable[str], root: Path) -> None:
    """Checks that files are in the project at `root`, wherever it lies: each trial changes those of its own clone.

    Raises:
        InvalidInput: one is outside of it, through a link too, or has an absolute path.
    """
    top = root.resolve()
    for file in files:
        found = (top / file).resolve()
        if not found.is_relative_to(top):
            raise InvalidInput(f"{file} is outside of the project {top}, in which trials change files; name one there")
        if Path(file).is_absolute():
            raise InvalidInput(
                f"{file}: a trial would change this file for all others; name it from the project's folder: "
                f"{found.relative_to(top)}"
            )


@lru_cache(maxsize=16)  # a sweep asks for each of its combinations
def _check_tracked(file: str, top: Path) -> None:
    """Checks that git tracks a file of the project at `top`: the clones of trials have no other files.

    Raises:
        InvalidInput: it does not.
    """
    if is_in_repository(top) and not git_succeeds(["ls-files", "--error-unmatch", "--", f":(literal){file}"], top):
        raise InvalidInput(f"git does not track {file}, so that trials, which run in clones, lack it; `git add {file}`")
