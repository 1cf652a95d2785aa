"""Files with parameters besides params.yaml, in the formats that DVC reads: YAML, JSON, TOML and Python."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.serialize import LOADERS, MODIFIERS
from ruamel.yaml.error import YAMLError

from flows.edits.edited_file import read_edited, with_ends_of, write_edited
from flows.edits.yaml_document import is_identical
from stages.base.errors import InvalidInput
from stages.base.files import is_file
from stages.base.suggestions import did_you_mean

MAX_KEYS = 20  # in a message
ABSENT = object()  # in place of the value of a key that does not exist


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
        InvalidInput: the file or one of the keys does not exist, DVC cannot write one of the values, or another value
            would change, as those of an alias do.
    """
    known = dict(leaves(read_params(path)))
    for key in settings:
        if key not in known:
            names = ", ".join(list(known)[:MAX_KEYS])
            raise InvalidInput(f"{path} has no key {key!r}; {did_you_mean(key, known)}known: {names or 'none'}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name  # DVC writes a file in place
        shutil.copyfile(path, copy)
        _modify(copy, settings, path)
        written = dict(leaves(read_params(copy)))
        for key, value in settings.items():
            if not _is_written(written.get(key), value):  # as of a text in Python, which DVC does not replace
                raise InvalidInput(f"{path}: DVC cannot write {value!r} at {key!r}; move this parameter to a YAML file")
        changed = [key for key in known | written if not is_identical(known.get(key, ABSENT), written.get(key, ABSENT))]
        if others := [key for key in changed if not _is_related(key, settings)]:
            raise InvalidInput(
                f"{path}: DVC cannot write {', '.join(settings)} without a change of {others[-1]}, which shares the "
                "value (an alias in YAML) or the line (in Python); write them apart in the file"
            )
        write_edited(path, with_ends_of(read_edited(path), read_edited(copy)))  # DVC writes LF


def leaves(content: Any, parent: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of all values in `content`, sections and entries of lists included, with their values."""
    items: Any = content.items() if isinstance(content, Mapping) else ()
    for name, value in enumerate(content) if isinstance(content, list) else items:
        yield f"{parent}{name}", value
        yield from leaves(value, f"{parent}{name}.")


def _modify(copy: Path, settings: Mapping[str, Any], path: Path) -> None:
    """Write the values into the file `copy` of `path`; raises InvalidInput if DVC cannot."""
    try:
        with MODIFIERS[path.suffix](str(copy)) as content:
            for key, value in settings.items():
                _set(content, key, value)
    except LookupError as error:
        raise InvalidInput(
            f"{path}: DVC cannot find {', '.join(settings)} by their dotted keys; a key whose name has a dot cannot be "
            "set, nor one in a section that is set too"
        ) from error
    except (DvcException, YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(f"{path}: DVC cannot write {', '.join(settings)}: {reason}") from error


def _is_written(found: Any, value: Any) -> bool:
    """Return whether `found` is `value`; DVC does not replace 1 by 1.0 in a Python file, and takes both for equal."""
    return is_identical(found, value) or ({type(found), type(value)} == {int, float} and found == value)


def _is_related(key: str, settings: Mapping[str, Any]) -> bool:
    """Return whether `key` is one of `settings`, or a part or a parent of one."""
    return any(f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.") for name in settings)


def _set(content: Any, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        content = content[_own(content, name)]
    content[_own(content, last)] = value


def _own(content: Any, name: str) -> Any:
    """Return the key of `content` that is written as `name`, which may be a number; raises LookupError without one."""
    keys = range(len(content)) if isinstance(content, list) else content if isinstance(content, Mapping) else ()
    for key in keys:
        if str(key) == name:
            return key
    raise LookupError(name)
