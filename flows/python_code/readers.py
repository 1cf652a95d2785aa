"""Finds code that reads Python code as text: docstrings, source, files by their names. Then a comment is an input."""

import ast
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath

from flows.python_code.import_scan import MAX_SIZE, is_text
from flows.python_code.nodes import (
    called,
    constants_in,
    fixed_part,
    is_dots,
    is_here,
    is_module_file,
    is_suffix,
    items,
    names_in,
    places_in,
    texts_in,
)

SOURCE_READERS = {
    "getsource", "getsourcelines", "findsource", "getcomments", "getblock", "linecache", "getfile", "getsourcefile",
    "get_source", "zipapp", "libcst", "radon", "copytree", "make_archive", "code_path", "code_paths", "log_code",
    "copy_tree", "save_code",
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
NAMES = {"parent", "parents", "name", "stem", "suffix", "dirname", "basename"}  # of a file, without its content
GLOBS = {"glob", "rglob", "iglob"}
JOINS = {"join", "joinpath", "Path", "PurePath"}
LISTS = {"iterdir", "walk", "listdir", "scandir"}
STARTERS = {
    "system", "popen", "Popen", "run", "call", "check_call", "check_output", "getoutput", "create_subprocess_shell",
    "create_subprocess_exec", "execv", "execvp", "spawnv", "spawnvp",
}  # fmt: skip
# Calls, and names of arguments or keys, that take folders which are packed or copied: there "." is the whole project.
PACKERS = {
    "add_dir", "add_folder", "fwalk", "log_artifact", "log_artifacts", "upload", "upload_dir", "upload_directory",
    "upload_folder",
}  # fmt: skip
ARCHIVES = {"tarfile"}  # libraries whose `add` takes folders, as that of sets does not
PACKED = {
    "base_dir", "code", "code_dir", "directory", "folder", "folder_path", "local_dir", "local_path", "project_dir",
    "py_modules", "root_dir", "source_dir", "src", "src_dir", "work_dir", "workdir", "working_dir",
}  # fmt: skip
KEYED = {"get", "pop", "setdefault"}  # methods of dictionaries whose first argument is a key
MAX_PATH = 200  # characters of a text that may be a path
PIECE = re.compile(r"""[^\s=,:;"'{}()@]+""")  # of a word that may have a path in it: `--files=a,b`


@dataclass(frozen=True)
class Readers:
    """What a module may read of Python files.

    Attributes:
        source: it reads the source of modules that cannot be told.
        docstrings: it reads docstrings of other modules.
        own_docstrings: it reads docstrings of its own.
        type_comments: it imports a library that reads `# type:` comments.
        names: texts in it that end in `.py`, names of files.
        texts: its other texts that may be paths, without patterns at the end; no keys, no sides of comparisons.
        beside: texts that it joins with its own path, `Path(__file__).parent / "text"`.
        folders: folders in which it searches Python files.
        folder_names: constants of other modules that name such folders.
        constants: its texts with a name, `NAME = "text"`.
    """

    source: bool = False
    docstrings: bool = False
    own_docstrings: bool = False
    type_comments: bool = False
    names: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
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
        self._files: set[str] = set()
        self._texts: set[str] = set()
        self._keys: set[int] = set()  # of texts that are no paths: keys, subscripts, sides of comparisons
        self._folders: set[str] = set()
        self._folder_names: set[str] = set()
        self._libraries: set[str] = set()
        self._modules: set[str] = set()  # names that imports have bound
        self._beside: set[str] = set()
        self._source = self._docstrings = self._own_docstrings = False
        self._is_located = "__file__" in names_in(tree)
        self._defined = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        self._constants = constants_in(tree)
        self._places = places_in(tree)
        for node in ast.walk(tree):  # the libraries, before calls of their functions
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.visit(node)

    def result(self) -> Readers:
        """Returns what was found."""
        return Readers(
            self._source or bool(self._names & SOURCE_READERS),
            self._docstrings or bool(self._names & DOC_READERS or self._libraries & DOC_LIBRARIES),
            self._own_docstrings,
            "torch" in self._libraries,
            frozenset(self._files),
            frozenset(self._texts),
            frozenset(self._beside),
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
        if not (node.attr in NAMES and is_module_file(node.value)):
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
            is_file = node.value.endswith(".py") and PurePosixPath(node.value).name != ".py"
            if is_file and "*" not in node.value:
                self._files.add(node.value)
                self._source |= bool({"%", "{"} & set(node.value))
            elif id(node) not in self._keys and len(node.value) <= MAX_PATH and "\n" not in node.value:
                self._texts.add(fixed_part(node.value))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not is_text(node):  # a docstring
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        self._add_argument(node.arg or "", node.value)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                self._add_argument(str(key.value), value)
                self._add_key(key)
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        last = node.values[-1] if node.values else None
        self._source |= isinstance(last, ast.Constant) and str(last.value).endswith(".py")
        self._add_joined(node)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._source |= isinstance(node.op, ast.Add) and is_suffix(node.right)
        self._add_joined(node)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        self._source |= any(map(is_suffix, sides))
        self._keys |= {id(item) for side in sides for item in items(side)}
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = called(node)
        self._source |= function == "endswith" and any(map(is_suffix, node.args))
        if function in GLOBS | LISTS:
            self._add_search(node)
            self._add_place(node)
        if function in STARTERS:
            texts = [str(item.value) for item in ast.walk(node) if isinstance(item, ast.Constant)]
            self._source |= any(".py" in text for text in texts)
            self._folders |= {word for text in texts for word in PIECE.findall(text) if not word.startswith("-")}
        if function in PACKERS or (function == "add" and self._libraries & ARCHIVES):
            self._add_roots(node.args)
        if function in KEYED and isinstance(node.func, ast.Attribute) and node.args:
            self._add_key(node.args[0])
        if function in JOINS:
            self._add_joined(node)
        if not (function in NAMES and any(map(is_module_file, node.args))):
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        is_first = isinstance(node.slice, ast.Constant) and node.slice.value == 0
        self._source |= is_first and getattr(node.value, "attr", getattr(node.value, "id", "")) == "argv"
        self._keys |= set(map(id, items(node.slice)))
        self.generic_visit(node)

    def _add_key(self, key: ast.expr) -> None:
        """Notes that a text is a key and no path, unless it looks like one: `{"src/lib": "lib"}`."""
        if "/" not in str(getattr(key, "value", "")):
            self._keys.add(id(key))

    def _add_joined(self, node: ast.AST) -> None:
        """Adds the texts of an expression that makes a path from the module's own."""
        if self._is_located and self._places & (names := names_in(node)):
            constants = [text for name, text in self._constants.items() if name in names]
            self._beside |= set(map(fixed_part, [*texts_in(node), *constants]))

    def _add_argument(self, name: str, value: ast.expr) -> None:
        """Adds an argument, or an entry of a dictionary: some take the folder of code."""
        if name in PACKED:
            self._add_roots([value])
        if name in SOURCE_READERS | DOC_READERS:
            self._names.add(name)

    def _add_roots(self, nodes: Iterable[ast.expr]) -> None:
        """Adds those of the folders `nodes` that have no name: the working directory, and that of the module."""
        for node in nodes:
            texts = texts_in(node)
            self._folders |= set(filter(is_dots, texts)) | ({"."} if is_here(node) else set())
            is_named = any(text.strip("./") for text in texts)
            self._source |= not is_named and bool(self._places & names_in(node))

    def _add_search(self, node: ast.Call) -> None:
        """Adds the folder in which a call lists files; an unknown folder counts if Python files are asked for."""
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_path = isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "Path" and len(owner.args) == 1
        base = owner.args[0] if is_path and isinstance(owner, ast.Call) else None
        pattern = node.args[0] if node.args else None
        text = pattern.value if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str) else ""
        parts = [item.value for item in ast.walk(pattern) if isinstance(item, ast.Constant)] if pattern else []
        if base is None and pattern is not None and not text.startswith("*"):
            base = ast.Constant(fixed_part(text)) if text else pattern
        name = getattr(base, "id", "")
        folder = base.value if isinstance(base, ast.Constant) else self._constants.get(name)
        if isinstance(folder, str) and folder:
            self._folders.add(folder)
        elif any(str(part).endswith(".py") for part in parts):
            self._folder_names |= {name} if name else set()
            self._source |= not name

    def _add_place(self, node: ast.Call) -> None:
        """Adds the working directory, or that of the module, if a call lists all files there."""
        texts = texts_in(node)
        named = [text for text in texts if text.strip("./")]
        parts = [(text.partition("*")[0].strip("./"), text.rpartition("/")[2]) for text in named]
        if any(folder or pattern.endswith(".py") or not fnmatchcase("a.py", pattern) for folder, pattern in parts):
            return  # one folder, Python files alone (a search), or other files
        owner = node.func.value if isinstance(node.func, ast.Attribute) else ast.Name("os")
        is_literal = all(isinstance(item, ast.Constant) and not str(item.value).startswith("/") for item in node.args)
        is_relative = is_literal and getattr(owner, "id", "") in ("glob", "os")
        if is_relative or is_here(node) or any(map(is_dots, texts)):
            self._folders.add(".")
        self._source |= bool(self._places & names_in(node))
