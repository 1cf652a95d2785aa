"""Names of a project's own code in params.yaml: `custom.module:function`, in the folder `custom` of the project."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

FOLDER = "custom"  # a dependency of the stage `train` in dvc.yaml: a change in it makes the models train again
PATTERN = rf"^{FOLDER}(\.[A-Za-z_][A-Za-z_0-9]*)*:[A-Za-z_][A-Za-z_0-9]*$"
ANY_FOLDER = re.compile(r"^([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)$", re.ASCII)


def is_code(name: str) -> bool:
    """Returns whether `name` names own code, not something of Keras."""
    return ":" in name


def object_name(name: str) -> str:
    """Returns the name of the function or class in `custom.module:name`."""
    return name.rpartition(":")[2]


def check_code(name: str) -> str:
    """Returns `name` if it is the form of own code.

    Raises:
        ValueError: it has another form, or is outside of the folder `custom`.
    """
    parts = ANY_FOLDER.match(name)
    if parts is None:
        raise ValueError(f"got {name!r}, expected {FOLDER}.module:function, such as {FOLDER}.example:build")
    package, modules, function = parts.groups()
    if package != FOLDER:
        module = modules or f".{package}"
        raise ValueError(
            f"got {name!r}, which is outside of the folder {FOLDER}/, the only own code that a training depends on; "
            f"move it there and write {FOLDER}{module}:{function}"
        )
    return name


def _check_if_code(name: Any, check_name: ValidatorFunctionWrapHandler) -> Any:
    return check_code(name) if isinstance(name, str) and is_code(name) else check_name(name)


CodeName = Annotated[str, AfterValidator(check_code), WithJsonSchema({"type": "string", "pattern": PATTERN})]
OR_CODE = WrapValidator(_check_if_code)  # on a type of names: own code is allowed too


def own_code(model: Any) -> list[str]:
    """Returns the names of own code that a model, a section of params.yaml, uses."""
    build = [model.build] if model.network == "custom" else []
    names = [*build, model.loss, model.optimizer.name, *(model.metrics or []), *(model.callbacks or [])]
    return [name for name in names if is_code(name)]
