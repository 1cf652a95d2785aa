"""Reads the imports in the text of one Python file.

Imports in functions count, those under `if TYPE_CHECKING` do not. Imports whose module is computed are named.
"""

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flows.python_code.nodes import called, texts_in

BY_NAME = {"import_module", "__import__", "run_module", "find_spec"}  # calls whose first argument is a module
DYNAMIC = {*BY_NAME, "run_path", "spec_from_file_location", "walk_packages", "iter_modules", "entry_points", "exec"}
ADDING = {"append", "insert", "extend"}  # methods of lists, whose last argument is new
EXPORTS = "__all__"
MAX_SIZE = 2_000_000  # bytes of a module; longer ones hold data
MAX_SHOWN = 60  # characters of a statement


@dataclass(frozen=True)
class Reference:
    """An import statement: a module, relative with `level` dots, and the names that are taken from it."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


@dataclass
class Source:
    """A module's imports, and the lines that import what cannot be seen."""

    references: list[Reference] = field(default_factory=list)
    dynamic: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)  # literal folders that it adds to sys.path
    exported: list[str] = field(default_factory=list)  # the texts that it puts into __all__
    has_code: bool = True  # False if it is empty or has a docstring alone


def scan(content: bytes, name: str) -> Source:
    """Returns the imports in the text of the Python file `name`."""
    if len(content) > MAX_SIZE:
        return Source(dynamic=[f"{name}: longer than {MAX_SIZE:,} bytes"])
    try:
        with warnings.catch_warnings(action="ignore"):  # about escapes such as "\d"
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Source(dynamic=[f"{name}: {error.msg if isinstance(error, SyntaxError) else error}"])
    return _Scan(tree, name).source


def is_text(node: ast.stmt) -> bool:
    """Returns True if the statement is a string alone, as a docstring is."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class _Scan:
    """The scan of one file."""

    def __init__(self, tree: ast.Module, name: str) -> None:
        self.source = Source(has_code=len(tree.body) > 1 or (len(tree.body) == 1 and not is_text(tree.body[0])))
        self._name = name
        self._path_names = {"sys.path", *_names_of_path(tree)}
        for node in _executed(tree):
            if isinstance(node, ast.Import):
                self.source.references += [Reference(alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = tuple(alias.name for alias in node.names)
                self.source.references.append(Reference(node.module or "", node.level, names))
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
                self._assignment(node, node.targets if isinstance(node, ast.Assign) else [node.target], node.value)

    def _call(self, node: ast.Call) -> None:
        function, first = called(node), node.args[0] if node.args else None
        if function in BY_NAME and isinstance(first, ast.Constant) and isinstance(first.value, str):
            module = first.value.lstrip(".")
            self.source.references.append(Reference(module, len(first.value) - len(module)))
        elif function in DYNAMIC and (node.args or node.keywords or function == "entry_points"):
            if function != "exec" or isinstance(node.func, ast.Name):  # `cursor.exec(...)` is another function
                self._add_dynamic(node)
        elif function == "addsitedir":
            self._search(node, first)
        elif function in ADDING and isinstance(node.func, ast.Attribute):
            if self._is_path(node.func.value):
                self._search(node, node.args[-1] if node.args else None)
            elif isinstance(node.func.value, ast.Name) and node.func.value.id == EXPORTS:
                self.source.exported += texts_in(node)

    def _assignment(self, node: ast.stmt, targets: Sequence[ast.expr], value: ast.expr) -> None:
        if any(isinstance(target, ast.Name) and target.id == EXPORTS for target in targets):
            self.source.exported += texts_in(value)
        if any(self._is_path(item.value if isinstance(item, ast.Subscript) else item) for item in targets):
            self._search(node, value)

    def _search(self, node: ast.AST, added: ast.expr | None) -> None:
        """Notes the folders that a statement adds to sys.path."""
        folders = self._folders(added)
        if folders is None:
            self._add_dynamic(node)
        else:
            self.source.search += folders

    def _folders(self, node: ast.expr | None) -> list[str] | None:
        """Returns the folders in a literal, and none for sys.path itself; None if they are computed."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else None
        if isinstance(node, ast.Starred | ast.Subscript):
            return self._folders(node.value)
        if isinstance(node, ast.ListComp) and ast.unparse(node.elt) == ast.unparse(node.generators[0].target):
            return self._folders(node.generators[0].iter)  # [entry for entry in sys.path if ...]
        if isinstance(node, ast.BinOp) and not isinstance(node.left, ast.Constant):  # else texts, which are joined
            parts = [node.left, node.right]
        elif isinstance(node, ast.List | ast.Tuple):
            parts = node.elts
        else:
            return [] if node is not None and self._is_path(node) else None
        found = [self._folders(part) for part in parts]
        return None if None in found else [folder for folders in found for folder in folders or ()]

    def _is_path(self, node: ast.expr) -> bool:
        """True for sys.path, by the names that the file gives `sys` and it."""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return f"{node.value.id}.{node.attr}" in self._path_names
        return isinstance(node, ast.Name) and node.id in self._path_names

    def _add_dynamic(self, node: ast.AST) -> None:
        self.source.dynamic.append(f"{self._name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:MAX_SHOWN]}")


def _names_of_path(tree: ast.Module) -> Iterator[str]:
    """Yields the names of sys.path in a module: `sys.path`, those of `import sys as s` and `from sys import path`."""
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            if isinstance(node, ast.Import) and alias.name == "sys":
                yield f"{alias.asname or alias.name}.path"
            elif isinstance(node, ast.ImportFrom) and node.module == "sys" and alias.name == "path":
                yield alias.asname or alias.name


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes but those under `if TYPE_CHECKING`."""
    due: list[ast.AST] = [tree]
    while due:
        node = due.pop()
        yield node
        if isinstance(node, ast.If) and getattr(node.test, "attr", getattr(node.test, "id", "")) == "TYPE_CHECKING":
            due += node.orelse
        else:
            due += ast.iter_child_nodes(node)
