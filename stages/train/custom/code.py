"""Loads own code from the project's folder `custom`, and turns its exceptions into one sentence with their line."""

import hashlib
import importlib
import json
import os
import re
import sys
import traceback
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.base.errors import InkflowError, InvalidInput, ModelError
from stages.base.suggestions import did_you_mean
from stages.model.config import Model, ModelBase
from stages.model.custom_code import FOLDER, own_code

MAX_REASON = 300  # characters of an exception's own text
MODULE = re.compile(rf"{FOLDER}(\.[A-Za-z_]\w*)*")
MAX_CONFIG = 100_000_000  # bytes of the description of a network


def load_code(name: str) -> Any:
    """Returns the function or class `custom.module:name` of the project in the working directory.

    Raises:
        InvalidInput: the file is missing, or does not have the name.
    """
    module_name, _, attribute = name.partition(":")
    root, parts = Path.cwd(), module_name.split(".")
    path = Path(*parts).with_suffix(".py") if len(parts) > 1 else Path(FOLDER)
    file = path if path.is_file() else Path(*parts) / "__init__.py"
    if not file.is_file():
        raise InvalidInput(f"`{name}`: there is no file {path} in {root}; write it, or correct the name")
    _search_first(root)
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        known = [known for known in vars(module) if not known.startswith("_")]
        raise InvalidInput(
            f"`{name}`: {file} has no {attribute}; {did_you_mean(attribute, known)}define it there, or correct the name"
        )
    return getattr(module, attribute)


def load_registered_code(path: Path) -> None:
    """Imports the modules of `custom` whose layers the .keras file `path` names, so that Keras finds them.

    Raises:
        ModelError: a module is not in the working directory.
    """
    for name in sorted(_named_modules(path)):
        _search_first(Path.cwd())
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ModelError(
                f"{path}: has layers of the module {name}, which cannot be imported ({error}); run the command in the "
                "project's folder, or use model.onnx, which needs no own code"
            ) from error


def _named_modules(path: Path) -> set[str]:
    """Returns the modules of `custom` that the .keras file `path` names; none if Keras cannot read it either."""
    names: set[str] = set()

    def note(pairs: list[tuple[str, Any]]) -> None:
        names.update(value for key, value in pairs if key == "module" and isinstance(value, str))

    try:
        with zipfile.ZipFile(path) as file:
            if file.getinfo("config.json").file_size <= MAX_CONFIG:
                json.loads(file.read("config.json"), object_pairs_hook=note)
    except (OSError, KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        pass
    return {name for name in names if MODULE.fullmatch(name)}


def _search_first(root: Path) -> None:
    """Makes imports find the folder `custom` of the project `root`, and no other package of this name."""
    loaded = sys.modules.get(FOLDER)
    if loaded is not None and str(root / FOLDER) not in map(str, getattr(loaded, "__path__", [])):
        for name in [name for name in sys.modules.copy() if name.partition(".")[0] == FOLDER]:
            del sys.modules[name]
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()


def code_digests(model: Model) -> dict[str, str]:
    """Returns the SHA-256 of each file in the folder `custom`, if `model` uses own code, which may read any of them."""
    digests = {}
    for path in sorted(_own_files()) if own_code(model) else ():
        with path.open("rb") as file:
            digests[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _own_files() -> Iterator[Path]:
    """Yields the files of the folder `custom`, also behind links, without hidden ones and Python's caches."""
    for folder, folders, names in os.walk(FOLDER, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        paths = (Path(folder, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


@contextmanager
def own_errors(name: str, model: ModelBase) -> Iterator[None]:
    """Turns exceptions within the block into InvalidInput with their line in `custom`, if `model` uses own code.

    Errors of a model without own code, and our own errors, stay as they are.
    """
    try:
        yield
    except InkflowError as error:
        if type(error) is InvalidInput and own_code(model) and not str(error).startswith("models."):
            raise InvalidInput(f"models.{name}: {error}") from error
        raise
    except (Exception, SystemExit) as error:  # own code can raise anything
        used, place = own_code(model), _place(error)
        if not used or (isinstance(error, OSError) and not place):
            raise
        where = f"{place}: " if place else ""
        advice = "correct it" if place else f"check {', '.join(used)}"
        raise InvalidInput(f"models.{name}: {where}{_reason(error)}; {advice}, then run again") from error


def _place(error: BaseException) -> str | None:
    """Returns the last line of own code that `error` came through."""
    root = Path.cwd() / FOLDER
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(root):
        return f"{Path(error.filename).relative_to(root.parent)}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(root)]
    if not frames:
        return None
    last = frames[-1]
    function = f", in {last.name}" if last.name.isidentifier() else ""
    return f"{Path(last.filename).relative_to(root.parent)}, line {last.lineno}{function}"


def _reason(error: BaseException) -> str:
    """Returns the exception's name and its text, without the arguments that Keras and TensorFlow append."""
    text = str(error).partition("Arguments received by")[0].partition("[Op:")[0].partition("Detected at node")[0]
    text = " ".join(text.split()).rstrip(".;")
    text = text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
