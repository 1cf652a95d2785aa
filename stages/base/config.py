"""Base class of the sections of params.yaml, and functions that read and validate one section.

A stage reads only its own sections. The stage `validate` runs before all other stages and checks the whole file, so it
reports mistakes in every section.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError
from ruamel.yaml.error import YAMLError

from stages.base.errors import ParamsError
from stages.base.shown_text import shortened
from stages.base.suggestions import unknown_name_message
from stages.base.validation_messages import error_messages
from stages.base.yaml_text import parse_yaml

# Names become file names, shell words and DVC addresses (`train@<name>`).
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Section(BaseModel):
    """Base class of a section of params.yaml: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def read_yaml(path: Path | str) -> Any:
    """Returns the parsed content of a params.yaml.

    Raises:
        ParamsError: the file is missing or is not valid YAML.
    """
    try:
        return parse_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(str(path), ["not found; run from the project's folder or name the file"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(str(path), [f"cannot be read: {error}"]) from error
    except (YAMLError, ValueError) as error:  # an impossible date or number raises a plain ValueError
        reason = shortened(" ".join(str(error).split()))
        raise ParamsError(str(path), [f"is not valid YAML: {reason}"]) from error


def load_section(path: Path | str, keys: Sequence[str], schema: Any) -> Any:
    """Reads params.yaml and validates one of its sections.

    Args:
        path: the params.yaml.
        keys: the keys that lead to the section, such as ["models", "cnn"].
        schema: a Section, or an annotated type such as a union of sections.

    Raises:
        ParamsError: the file cannot be read, the section is missing, or it is invalid; one message for each mistake.
    """
    return check_section(read_yaml(path), keys, schema, path)


def check_section(content: Any, keys: Sequence[str], schema: Any, path: Path | str) -> Any:
    """Validates the section at `keys` of the parsed `content` of the file `path`, as `load_section` does.

    Raises:
        ParamsError: the section is missing or invalid; one message for each mistake.
    """
    for depth, key in enumerate(keys):
        prefix = f"{'.'.join(keys[:depth])}: " if depth else ""
        if not isinstance(content, Mapping):
            raise ParamsError(str(path), [f"{prefix}expected keys with values, got {shortened(repr(content))}"])
        if key not in content:
            message = unknown_name_message("key", key, map(str, content)) if depth else f"{key}: is missing; add it"
            raise ParamsError(str(path), [f"{prefix}{message}"])
        content = content[key]
    try:
        return TypeAdapter(schema).validate_python(content)
    except ValidationError as error:
        raise ParamsError(str(path), error_messages(error, schema, keys)) from error
