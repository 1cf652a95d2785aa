"""Finds code that reads Python code as text: docstrings, source, files by their names. Then a comment is an input."""

import ast
import warnings
from dataclasses import dataclass
from functools import lru_cache

from flows.python_code.imports import MAX_SIZE

SOURCE_READERS = {
    "getsource", "getsourcelines", "findsource", "getcomments", "getblock", "linecache", "getfile", "getsourcefile",
    "get_source", "zipapp", "libcst", "radon", "copytree", "make_archive", "code_path", "code_paths", "log_code",
}  # fmt: skip
DOC_READERS = {
    "getdoc", "doctest", "pydoc", "model_json_schema", "json_schema", "models_json_schema", "use_attribute_docstrings",
    "get_json_schema", "apply_chat_template", "docstring_parser", "griffe", "numpydoc", "genai",
}  # fmt: skip
# Libraries that make prompts, commands or descriptions of docstrings.
DOC_LIBRARIES = {
    "agents", "agno", "autogen", "crewai", "dspy", "fastapi", "fire", "haystack", "instructor", "jsonargparse",
    "langchain", "langchain_core", "langgraph", "litellm", "llama_index", "magentic", "marvin", "ollama", "ply",
    "pydantic_ai", "sly", "smolagents", "typer",
}  # fmt: skip
PATHS = {"Path", "PurePath", "resolve", "absolute", "abspath", "realpath", "expanduser"}
NAMES = {"parent", "parents", "name", "stem", "suffix", "dirname", "basename"}  # of a file, without its content
GLOBS = {"glob", "rglob", "iglob"}
LISTS = {"iterdir", "walk", "listdir", "scandir"}
STARTERS = {"system", "popen", "Popen", "run", "call", "check_call", "check_output", "getoutput"}


@dataclass(frozen=True)
class Readers:
    """What a module may read of Python files.

    Attributes:
        source: it reads the source of modules that cannot be told.
        docstrings: it reads docstrings of other modules.
        own_docstrings: it reads docstrings of its own.
        type_comments: it imports a library that reads `# type:` comments.
        names: texts in it that end in `.py`, names of files.
        folders: folders in which it searches Python files.
        folder_names: constants of other modules that name such folders.
        constants: its texts with a name, `NAME = "text"`.
    """

    source: bool = False
    docstrings: bool = False
    own_docstrings: bool = False
    type_comments: bool = False
    names: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    folder_names: frozenset[str] = frozenset()
    constants: frozenset[tuple[str, str]] = frozenset()


@lru_cache(maxsize=4096)
def readers_in(content: bytes) -> Readers:
    """Returns what the module with this content may read; of one that is not valid, everything."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about escapes such as "\d"
            tree = ast.parse(content) if len(content) <= MAX_SIZE else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None:
        return Readers(source=True)
    visitor = _Visitor(tree)
    visitor.visit(tree)
    return visitor.result()


class _Visitor(ast.NodeVisitor):
    """Collects what one module reads."""

    def __init__(self, tree: ast.Module) -> None:
        self._names: set[str] = set()
        self._texts: set[str] = set()
        self._folders: set[str] = set()
        self._folder_names: set[str] = set()
        self._libraries: set[str] = set()
        self._modules: set[str] = set()  # names that imports have bound
        self._source = self._docstrings = self._own_docstrings = False
        self._defined = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        self._constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value.value, str)
        }

    def result(self) -> Readers:
        """Returns what was found."""
        return Readers(
            self._source or bool(self._names & SOURCE_READERS),
            self._docstrings or bool(self._names & DOC_READERS or self._libraries & DOC_LIBRARIES),
            self._own_docstrings,
            "torch" in self._libraries,
            frozenset(self._texts),
            frozenset(self._folders),
            frozenset(self._folder_names),
            frozenset(self._constants.items()),
        )

    def visit_Name(self, node: ast.Name) -> None:
        self._names.add(node.id)
        self._own_docstrings |= node.id == "__doc__"
        self._source |= node.id == "__file__"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._names.add(node.attr)
        if node.attr == "__doc__":
            is_own = isinstance(node.value, ast.Name) and node.value.id in self._defined
            self._own_docstrings |= is_own
            self._docstrings |= not is_own
        self._source |= node.attr == "__file__" and getattr(node.value, "id", "") in self._modules
        if not (node.attr in NAMES and _is_module_file(node.value)):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._names |= set(alias.name.split("."))
            self._libraries.add(alias.name.partition(".")[0])
            self._modules.add(alias.asname or alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._names |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
        self._modules |= {alias.asname or alias.name for alias in node.names}
        if not node.level:
            self._libraries.add((node.module or "").partition(".")[0])

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._docstrings |= node.value == "__doc__"
            if node.value.endswith(".py") and not node.value.startswith(".") and "*" not in node.value:
                self._texts.add(node.value)
                self._source |= bool({"%", "{"} & set(node.value))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        last = node.values[-1] if node.values else None
        self._source |= isinstance(last, ast.Constant) and str(last.value).endswith(".py")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._source |= isinstance(node.op, ast.Add) and _is_suffix(node.right)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        self._source |= any(_is_suffix(item) for item in [node.left, *node.comparators])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        self._source |= function == "endswith" and any(map(_is_suffix, node.args))
        if function in GLOBS | LISTS:
            self._add_search(node)
        if function in STARTERS:
            texts = [str(item.value) for item in ast.walk(node) if isinstance(item, ast.Constant)]
            self._source |= any(".py" in text for text in texts)
            self._folders |= {word for text in texts for word in text.split() if not word.startswith("-")}
        if not (function in NAMES and any(map(_is_module_file, node.args))):
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        is_first = isinstance(node.slice, ast.Constant) and node.slice.value == 0
        self._source |= is_first and getattr(node.value, "attr", getattr(node.value, "id", "")) == "argv"
        self.generic_visit(node)

    def _add_search(self, node: ast.Call) -> None:
        """Adds the folder in which a call lists files; an unknown folder counts if Python files are asked for."""
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_path = isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "Path" and len(owner.args) == 1
        base = owner.args[0] if is_path and isinstance(owner, ast.Call) else None
        pattern = node.args[0] if node.args else None
        text = pattern.value if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str) else ""
        parts = [item.value for item in ast.walk(pattern) if isinstance(item, ast.Constant)] if pattern else []
        if base is None and pattern is not None and not text.startswith("*"):
            base = ast.Constant(text.partition("*")[0]) if text else pattern
        name = getattr(base, "id", "")
        folder = base.value if isinstance(base, ast.Constant) else self._constants.get(name)
        if isinstance(folder, str) and folder:
            self._folders.add(folder)
        elif any(str(part).endswith(".py") for part in parts):
            self._folder_names |= {name} if name else set()
            self._source |= not name


def _is_suffix(node: ast.expr) -> bool:
    """Returns True for `".py"`, or a tuple with it."""
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(isinstance(item, ast.Constant) and item.value in (".py", "py", ".pyw") for item in items)


def _is_module_file(node: ast.expr) -> bool:
    """Returns True for `__file__`, that of a module, and a path made of it alone: `Path(__file__).resolve()`."""
    if isinstance(node, ast.Name):
        return node.id == "__file__"
    if isinstance(node, ast.Attribute):
        return node.attr == "__file__" or (node.attr in PATHS and _is_module_file(node.value))
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return name in PATHS and any(map(_is_module_file, [*inner, *node.args]))
    return False
