"""Questions about expressions in a syntax tree: their names, their texts, and whether they are paths of a module."""

import ast

PATHS = {"Path", "PurePath", "resolve", "absolute", "abspath", "realpath", "expanduser"}
HERE = {"cwd", "getcwd", "curdir", "pardir"}  # names of the working directory, and of the one above it
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


def called(node: ast.Call) -> str:
    """Returns the name of the function or method that is called; empty if it has none."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_dots(text: str) -> bool:
    """Returns True for a relative path without a name: `.`, `../..`."""
    return text.startswith(".") and not text.strip("./")


def is_here(node: ast.AST) -> bool:
    """Returns True if the working directory is in the expression: `Path()`, `os.getcwd()`, `os.path.abspath(".")`."""
    calls = [item for item in ast.walk(node) if isinstance(item, ast.Call)]
    return bool(HERE & names_in(node)) or any(_is_path_here(item) for item in calls)


def _is_path_here(node: ast.Call) -> bool:
    values = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    is_unnamed = len(values) == len(node.args) and all(not text or is_dots(text) for text in values)
    return is_unnamed and (called(node) == "Path" or (called(node) in PATHS and bool(values)))


def constants_in(tree: ast.Module) -> dict[str, str]:
    """Returns the texts that a module gives a name, `NAME = "text"`."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def places_in(tree: ast.AST) -> set[str]:
    """Returns the names of the module's file, of the working directory, and of folders above them."""
    places = {"__file__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            is_place = bool(places & names_in(node.value)) or is_here(node.value)
            if is_place and not any(text.strip("./") for text in texts_in(node.value)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                places |= {target.id for target in targets if isinstance(target, ast.Name)}
    return places


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
        inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return called(node) in PATHS and any(map(is_module_file, [*inner, *node.args]))
    return False
