"""Compares two versions of a Python file: are they the same program, but for comments, formatting and docstrings?

A docstring is left out of the comparison only if no library can be expected to read it: those of decorated functions
and of classes with a base class of elsewhere count, since libraries make descriptions and prompts of them.
"""

import ast
import re
import warnings

from flows.python_code.import_scan import MAX_SIZE, is_text

# Decorators and base classes of Python itself, which read no docstring.
DECORATORS = {
    "property", "staticmethod", "classmethod", "dataclass", "cached_property", "contextmanager", "cache", "lru_cache",
    "abstractmethod", "override", "overload", "final", "wraps", "setter", "getter", "unique", "total_ordering",
}  # fmt: skip
BASES = {
    "object", "ABC", "Protocol", "Generic", "NamedTuple", "TypedDict", "Enum", "StrEnum", "IntEnum", "Flag", "IntFlag",
    "Exception", "ValueError", "RuntimeError", "TypeError", "KeyError", "OSError", "dict", "list", "str",
}  # fmt: skip
# Comments that a program is started by: the first line of a script, and the metadata of PEP 723, which `uv run` reads.
STARTING_COMMENTS = re.compile(rb"\A#!.*|^# /// \S+[ \t]*\r?\n(?:#.*\r?\n)*?# ///[ \t]*\r?$", re.MULTILINE)
BLOCKS = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def is_same_program(old: bytes, new: bytes, *, docstrings: bool = False, type_comments: bool = False) -> bool:
    """Returns True if two versions of a Python file differ in comments, formatting and docstrings alone.

    False if one of them is not valid for this Python, or longer than 2 MB.

    Args:
        old: one version.
        new: the other.
        docstrings: compare docstrings too, since the program reads them.
        type_comments: compare `# type:` comments too.
    """
    if old == new:
        return True
    if max(len(old), len(new)) > MAX_SIZE or STARTING_COMMENTS.findall(old) != STARTING_COMMENTS.findall(new):
        return False
    try:
        return _dump(old, docstrings, type_comments) == _dump(new, docstrings, type_comments)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _dump(content: bytes, docstrings: bool, type_comments: bool) -> str:
    with warnings.catch_warnings(action="ignore"):  # about escapes such as "\d"
        tree = ast.parse(content, type_comments=type_comments)
    tree.type_ignores = []
    if not docstrings:
        _remove_docstrings(tree)
    return ast.dump(tree)


def _remove_docstrings(node: ast.AST) -> None:
    """Removes the docstrings below `node` that no library reads."""
    for child in ast.iter_child_nodes(node):
        if not _may_be_read(child):
            _remove_docstrings(child)
    if isinstance(node, BLOCKS) and node.body and is_text(node.body[0]):
        node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def _may_be_read(node: ast.AST) -> bool:
    """Returns True for a function or class that is handed to code of elsewhere, which may read its docstring."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        bases = [_name(base) not in BASES for base in node.bases] if isinstance(node, ast.ClassDef) else []
        keywords = bool(node.keywords) if isinstance(node, ast.ClassDef) else False
        return any([*bases, keywords, *(_name(item) not in DECORATORS for item in node.decorator_list)])
    return False


def _name(node: ast.AST) -> str:
    """Returns the last name of a decorator or base class: `dataclass` for `@dataclasses.dataclass(frozen=True)`."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
