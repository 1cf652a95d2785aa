"""Files with parameters besides params.yaml, in the formats that DVC reads: YAML, JSON, TOML and Python."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.serialize import LOADERS, MODIFIERS

from flows.core.values import is_same_value
from flows.edits.edited_file import read_edited, with_ends_of, write_edited
from stages.base.errors import InvalidInput
from stages.base.files import is_file
from stages.base.suggestions import did_you_mean

MAX_KEYS = 20  # in a message


def read_params(path: Path) -> Any:
    """Return the content of the file `path`, whose suffix names its format.

    Raises:
        InvalidInput: it is missing or cannot be read.
    """
    if not is_file(path):
        raise InvalidInput(f"there is no file {path} with parameters; create it, or name another one as FILE:KEY")
    try:
        return LOADERS[path.suffix](str(path))
    except (DvcException, OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def write_params(path: Path, settings: Mapping[str, Any]) -> None:
    """Write values at dotted keys of the file `path`, all of them or none; its comments stay.

    Raises:
        InvalidInput: the file or one of the keys does not exist, or DVC cannot write one of the values.
    """
    known = dict(leaves(read_params(path)))
    for key in settings:
        if key not in known:
            names = ", ".join(list(known)[:MAX_KEYS])
            raise InvalidInput(f"{path} has no key {key!r}; {did_you_mean(key, known)}known: {names or 'none'}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name  # DVC writes a file in place
        shutil.copyfile(path, copy)
        with MODIFIERS[path.suffix](str(copy)) as content:
            for key, value in settings.items():
                _set(content, key, value)
        written = dict(leaves(read_params(copy)))
        for key, value in settings.items():
            if not is_same_value(written.get(key), value):  # as of a text in Python, which DVC does not replace
                raise InvalidInput(f"{path}: DVC cannot write {value!r} at {key!r}; move this parameter to a YAML file")
        write_edited(path, with_ends_of(read_edited(path), read_edited(copy)))  # DVC writes LF


def leaves(content: Any, parent: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of all values in `content`, sections and entries of lists included, with their values."""
    items: Any = content.items() if isinstance(content, Mapping) else ()
    for name, value in enumerate(content) if isinstance(content, list) else items:
        yield f"{parent}{name}", value
        yield from leaves(value, f"{parent}{name}.")


def _set(content: Any, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        content = content[int(name) if isinstance(content, list) else _own(content, name)]
    content[int(last) if isinstance(content, list) else _own(content, last)] = value


def _own(content: Mapping[Any, Any], name: str) -> Any:
    """Return the key of `content` that is written as `name`; it may be a number."""
    return next((key for key in content if str(key) == name), name)
