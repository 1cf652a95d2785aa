"""The files that the Python processes of a stage opened, compared with the dependencies of the stage.

Seen are files of the project that Python itself opens: with `open`, `os.open`, `pathlib`, NumPy, most of pandas, and
imports. Not seen are files that a library opens in C (HDF5, Parquet, TensorFlow's own readers), programs that are not
Python, Python with `-I`, `-E` or `-S`, and folders that are only listed.
"""

import ast
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.util import source_from_cache
from pathlib import Path, PurePosixPath
from typing import Self

from flows.core.errors import UndeclaredInputs
from flows.engine.opened_files.site import sitecustomize
from flows.engine.types import Command, file_name

FOLDER = Path(".inkflow") / "opened"
SITE = Path(sitecustomize.__file__).parent
# Folders of tools: what they hold is no input of a stage.
TOOLS = {".dvc", ".git", ".inkflow", ".ipynb_checkpoints", ".venv", "node_modules", "site-packages", "venv"}
OF_DVC = ("dvc.yaml", "dvc.lock", ".dvcignore", ".gitignore")


def python_path(inherited: str | None) -> str:
    """Returns the PYTHONPATH of stages: the folder of the hook, then what the caller has."""
    return os.pathsep.join(filter(None, [str(SITE), inherited]))


class UndeclaredCheck:
    """Compares what one stage reads with what it declares, while the command of the stage runs in its block.

    A record that cannot be written or read, as on a full disk, notices nothing and fails no stage.

    Attributes:
        variables: those that name the record to the processes of the stage, in the block.
    """

    def __init__(self, root: Path, stage: str, policy: str) -> None:
        """Creates the check for a stage of the project at `root`; its `policy` is `warn`, `fail` or `ignore`."""
        self._root, self._policy = root, policy
        self._record = root / FOLDER / file_name(stage)
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Creates an empty record."""
        if self._policy != "ignore":
            with suppress(OSError, ValueError):
                self._record.parent.mkdir(parents=True, exist_ok=True)
                self._record.write_bytes(b"")
                self.variables = {sitecustomize.VARIABLE: str(self._record)}
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the record, however the stage ended."""
        with suppress(OSError):
            self._record.unlink(missing_ok=True)

    def end(self, command: Command, add_line: Callable[[str], None]) -> None:
        """Tells `add_line` of the files that the stage, which has succeeded, read and does not declare.

        Raises:
            UndeclaredInputs: there are such files, and the policy is `fail`.
        """
        names = undeclared(self._root, self._record, command.declared) if self.variables else []
        if not names:
            return
        text = message(command.stage, names)
        if self._policy == "fail":
            raise UndeclaredInputs(text)
        add_line(f"warning: {text}")


def undeclared(root: Path, path: Path, declared: Sequence[str]) -> list[str]:
    """Returns the files in the record at `path` that were read and are not `declared`; leaves out damaged lines.

    A file that the stage opened for writing first is its own.
    """
    first: dict[str, str] = {}
    with suppress(OSError):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            kind, _, name = line.partition("\t")
            with suppress(ValueError):  # a disk that was full has cut the line
                first.setdefault(_source(name.encode("ascii", "replace").decode("unicode_escape")), kind)
    found = []
    for name, kind in first.items():
        with suppress(OSError, ValueError):
            if kind == "r" and not _is_declared(name, declared) and _is_input(root, name):
                found.append(name)
    return sorted(found)


def message(stage: str, names: Sequence[str]) -> str:
    """Returns the sentence about the files `names` that `stage` read."""
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    these = "it is" if len(names) == 1 else "they are"
    return (
        f"{stage} read {some}, but {these} not among its deps or params in dvc.yaml: a change there does not rerun it; "
        "add what it reads, or set `undeclared: ignore` in execution.yaml"
    )


def _source(name: str) -> str:
    """Returns the source file of a compiled module; other names as they are."""
    try:
        return source_from_cache(name) if name.endswith(".pyc") else name
    except ValueError:
        return name


def _is_declared(name: str, declared: Iterable[str]) -> bool:
    path = PurePosixPath(name)
    return any(path.is_relative_to(other) for other in declared)


def _is_input(root: Path, name: str) -> bool:
    """True if a file of the project can change a result: it exists, belongs to no tool, and is not without content."""
    parts, path = PurePosixPath(name).parts, root / name
    if not parts or not path.is_file():
        return False
    if TOOLS.intersection(parts) or parts[-1] in OF_DVC or name.endswith((".dvc", ".pyc")):
        return False
    if any(part.endswith((".egg-info", ".dist-info")) for part in parts):
        return False
    return parts[-1] != "__init__.py" or _has_code(path)


def _has_code(path: Path) -> bool:
    """True unless a module is empty but for its docstring."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError):
        return True
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)
