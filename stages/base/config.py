"""Sections of params.yaml: what they have in common, and how one of them is read and checked.

A stage reads its own section alone: a mistake in another one is found by the stage `validate`, which checks the whole
file before any other stage runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.errors import ParamsError
from stages.base.suggestions import unknown
from stages.base.validation_messages import sentences

# Names become file names, shell words and DVC addresses (`train@<name>`).
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Section(BaseModel):
    """A part of params.yaml: frozen, with no other keys than those named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def read_yaml(path: Path | str) -> Any:
    """The parsed content of a params.yaml.

    Raises:
        ParamsError: the file is missing or is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(str(path), ["not found; run from the project's folder or name the file"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(str(path), [f"cannot be read: {error}"]) from error
    except (YAMLError, ValueError) as error:  # a plain ValueError of a date or a number that is none
        raise ParamsError(str(path), [f"is not valid YAML: {' '.join(str(error).split())}"]) from error


def load_section(path: Path | str, keys: Sequence[str], kind: Any) -> Any:
    """The section of the params.yaml `path` that lies at `keys`, such as ["models", "cnn"], checked as a `kind`.

    Args:
        path: the file.
        keys: the way to the section.
        kind: a Section, or an annotated type such as a union of sections.

    Raises:
        ParamsError: the file cannot be read, the section is missing, or it has mistakes: all of them, a sentence each.
    """
    return check_section(read_yaml(path), keys, kind, path)


def check_section(content: Any, keys: Sequence[str], kind: Any, path: Path | str) -> Any:
    """The section of the parsed `content` of `path` that lies at `keys`, checked as in `load_section`.

    Raises:
        ParamsError: the section is missing, or it has mistakes: all of them, a sentence each.
    """
    for depth, key in enumerate(keys):
        where = f"{'.'.join(keys[:depth])}: " if depth else ""
        if not isinstance(content, Mapping):
            raise ParamsError(str(path), [f"{where}expected keys with values, got {content!r}"])
        if key not in content:
            mistake = f"{where}{unknown('key', key, map(str, content))}" if depth else f"{key}: is missing; add it"
            raise ParamsError(str(path), [mistake])
        content = content[key]
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise ParamsError(str(path), sentences(error, kind, keys)) from error
