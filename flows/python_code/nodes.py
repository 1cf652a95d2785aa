"""Questions about expressions in a syntax tree: their names, their texts, and whether they are paths of a module."""

import ast

PATHS = {"Path", "PurePath", "resolve", "absolute", "abspath", "realpath", "expanduser"}
HERE = {"cwd", "getcwd", "curdir"}  # names of the working directory
UNKNOWN = frozenset("*?[{%")  # in a part of a path that stands for several


def names_in(node: ast.AST) -> set[str]:
    """Returns the names and attributes in an expression."""
    return {getattr(item, "id", getattr(item, "attr", "")) for item in ast.walk(node)}


def texts_in(node: ast.AST) -> list[str]:
    """Returns the texts in an expression."""
    return [item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def items(node: ast.expr) -> list[ast.expr]:
    """Returns the entries of a literal list, tuple or set; another expression by itself."""
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]


def fixed_part(path: str) -> str:
    """Returns a path without patterns and fields at its end, `src` for `src/*`."""
    parts = path.rstrip("/").split("/")
    while parts and UNKNOWN & set(parts[-1]):
        parts.pop()
    return "/".join(parts)


def is_here(node: ast.AST) -> bool:
    """Returns True if the working directory is in the expression: `Path()`, `os.getcwd()`."""
    calls = [item for item in ast.walk(node) if isinstance(item, ast.Call)]
    return bool(HERE & names_in(node)) or any(
        getattr(item.func, "id", "") == "Path" and not item.args for item in calls
    )


def is_suffix(node: ast.expr) -> bool:
    """Returns True for `".py"`, or a tuple with it."""
    return any(isinstance(item, ast.Constant) and item.value in (".py", "py", ".pyw") for item in items(node))


def is_module_file(node: ast.expr) -> bool:
    """Returns True for `__file__`, that of a module, and a path made of it alone: `Path(__file__).resolve()`."""
    if isinstance(node, ast.Name):
        return node.id == "__file__"
    if isinstance(node, ast.Attribute):
        return node.attr == "__file__" or (node.attr in PATHS and is_module_file(node.value))
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return name in PATHS and any(map(is_module_file, [*inner, *node.args]))
    return False
