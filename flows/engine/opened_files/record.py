"""The files that the Python processes of a stage opened, compared with the dependencies of the stage.

Seen are files of the project that Python itself opens: with `open`, `os.open`, `pathlib`, NumPy, most of pandas, and
imports. docs/code-dependencies.md lists what is not seen.
"""

import ast
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Self

from flows.core.errors import UndeclaredInputs
from flows.engine.opened_files.site import sitecustomize
from flows.engine.opened_files.unwatched import unwatched
from flows.engine.types import Command, file_name

FOLDER = Path(".inkflow") / "opened"
SITE = Path(sitecustomize.__file__).parent
# Folders of tools: what they hold is no input of a stage.
TOOLS = {".dvc", ".git", ".inkflow", ".ipynb_checkpoints", ".venv", "node_modules", "site-packages", "venv"}
TOOLS |= {"__pycache__"}  # sources of compiled modules are noted in place of these
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

    def __init__(self, root: Path, command: Command, policy: str, add_line: Callable[[str], None]) -> None:
        """Creates the check.

        Args:
            root: the project's folder.
            command: the command of the stage.
            policy: `warn`, `fail` or `ignore`.
            add_line: called with each warning.
        """
        self._root, self._command, self._policy, self._add_line = root, command, policy, add_line
        self._record, self._began_ns = root / FOLDER / file_name(command.stage), 0
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Creates an empty record.

        Raises:
            UndeclaredInputs: the command keeps Python from noting what it reads, and the policy is `fail`.
        """
        if self._policy == "ignore":
            return self
        if way := unwatched(self._command.lines):
            self._tell(unwatched_message(self._command.stage, way))
        with suppress(OSError, ValueError):
            self._record.parent.mkdir(parents=True, exist_ok=True)
            self._record.write_bytes(b"")
            self._began_ns = self._record.stat().st_ctime_ns  # by the clock that the file system gives other files
            self.variables = {sitecustomize.VARIABLE: str(self._record)}
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the record, however the stage ended."""
        with suppress(OSError):
            self._record.unlink(missing_ok=True)

    def end(self) -> None:
        """Tells of the files that the stage, which has succeeded, read and does not declare.

        Raises:
            UndeclaredInputs: there are such files, and the policy is `fail`.
        """
        if self.variables and (names := undeclared(self._root, self._record, self._command, self._began_ns)):
            self._tell(message(self._command.stage, names))

    def _tell(self, text: str) -> None:
        if self._policy == "fail":
            raise UndeclaredInputs(text)
        self._add_line(f"warning: {text}")


def undeclared(root: Path, path: Path, command: Command, began_ns: int) -> list[str]:
    """Returns the files in the record at `path` that were read and that `command` does not declare.

    A file that the stage first created or emptied is its own. So is one that has changed since the time `began_ns`,
    written by a program that is not Python, unless it is an output of another stage, which may run beside this one.
    """
    declared, found = _Declared(root, command), []
    for name, changed_ns in _read_files(path).items():
        with suppress(OSError, ValueError):
            is_own = changed_ns is None or (changed_ns >= began_ns and not _is_in(name, command.graph_outputs))
            if not is_own and _is_input(root, name) and (named := declared.flaw(name)):
                found.append(named)
    return sorted(found)


def _read_files(path: Path) -> dict[str, int | None]:
    """Returns the files that were read, with their last change before the first open; None if that wrote the file."""
    first: dict[str, int | None] = {}
    read: set[str] = set()
    with suppress(OSError):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            kind, _, name = line.partition("\t")
            with suppress(ValueError):  # a disk that was full has cut the line
                name = name.encode("ascii", "replace").decode("unicode_escape")
                first.setdefault(name, int(kind[1:]) if kind.startswith(("r", "a")) else None)
                read |= {name} if kind.startswith("r") else set()
    return {name: changed_ns for name, changed_ns in first.items() if name in read}


class _Declared:
    """The files that a stage declares, by their names and by the names of what links lead to."""

    def __init__(self, root: Path, command: Command) -> None:
        self._root, self._command = root, command
        self._names = frozenset(command.declared)

    @cached_property
    def _real_names(self) -> frozenset[str]:
        return frozenset(map(self._real, self._names))

    def _real(self, name: str) -> str:
        return os.path.relpath(os.path.realpath(self._root / name), os.path.realpath(self._root))

    def flaw(self, name: str) -> str:
        """Returns an empty text if the file `name` is declared, otherwise its name, as a message tells it."""
        is_ignored = False
        for path, names in ((name, self._names), (self._real(name), self._real_names)):
            if path in names:
                return ""
            if _is_in(path, names):
                is_ignored = self._command.is_ignored(path)
                if not is_ignored:
                    return ""
        return f"{name} (in .dvcignore)" if is_ignored else name


def message(stage: str, names: Sequence[str]) -> str:
    """Returns the sentence about the files `names` that `stage` read."""
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    these = "it is" if len(names) == 1 else "they are"
    return (
        f"{stage} read {some}, but {these} not among its deps or params in dvc.yaml: a change there does not rerun it; "
        "add what it reads, or set `undeclared: ignore` in execution.yaml"
    )


def unwatched_message(stage: str, way: str) -> str:
    """Returns the sentence about a command of `stage` that keeps Python from noting what it reads in this `way`."""
    return (
        f"{stage} {way}, so it is not seen what its Python processes read; keep the PYTHONPATH of the run "
        "(`PYTHONPATH=src:$PYTHONPATH`), or set `undeclared: ignore` in execution.yaml"
    )


def _is_in(name: str, names: Collection[str]) -> bool:
    """True if a file is one of `names` or lies in one of these folders."""
    return name in names or any(str(parent) in names for parent in PurePosixPath(name).parents)


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
