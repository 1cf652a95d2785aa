"""The kinds of files that a project keeps below `.inkflow` and `.dvc/tmp`: which are tried, and which no code reads."""

import ast
import re
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tests.support.root import ROOT

STATE = (".inkflow", ".dvc/tmp")
UNREAD = {
    "**/*.lock": "locks: the system knows who holds them, their content says nothing",
    "**/.gitignore": "written whenever it is missing",
    "**/.dvcignore": "written whenever it is missing",
    ".inkflow/run.queue": "a lock",
    ".inkflow/sharing/*": "locks",
    ".inkflow/opened/*": "written and read during one run of a stage",
    ".inkflow/logs/*": "for people",
    ".inkflow/runs/*/*": "for people: the last lines of a failed stage",
    ".inkflow/report/*": "for people: written anew by each `inkflow report`",
    ".inkflow/compare/*": "for people: written anew by each `inkflow compare`",
    ".inkflow/prefect/server.log": "written anew by each server",
    ".inkflow/prefect/memo_store.toml": "Prefect's own, read by Prefect, which ignores a damaged one",
    ".inkflow/prefect/prefect.db-*": "of SQLite: parts of the database",
    ".inkflow/search/*/owners/*": "locks",
    ".dvc/tmp/lock": "a lock",
    ".dvc/tmp/btime": "DVC reads its time, not its content",
}
ELSEWHERE = {  # read, and tried by other tests than those of the tables, or by none
    ".inkflow/checkpoints/*": "test_damage_checkpoints.py",
    ".inkflow/ci/*": "for people and for one comment, right after a lane has written them",
    ".inkflow/results/*": "stays empty",
    ".inkflow/search-reports/*": "for people",
    ".inkflow/serve/*": "written by the process that starts the server, which goes on with its model if it is damaged",
    ".inkflow/state": "no file: its name is given to git alone",
    ".inkflow/tensorboard/*": "of TensorBoard, which reads them",
    ".inkflow/up/address": "read while `inkflow up` runs, and written at each start; another address gives no answer",
    ".inkflow/up/auth": "a password: another one is as right, and a client with it is refused",
    ".inkflow/up/page.html": "for a browser, written at each start",
    ".inkflow/up/prefect.db": "test_damage_database.py",
    ".inkflow/up/profiles.toml": "Prefect's own",
    ".inkflow/up/*.log": "for people",
    ".inkflow/up/prefect.yaml": "written anew before it is read",
    ".inkflow/up/storage/*": "Prefect's own",
    ".inkflow/up/stopped": "empty: that it is there says that a person or a signal stopped `inkflow up`",
    ".inkflow/up/worker-id": "a random name: one that is none is replaced, another one is that of a new folder",
    ".inkflow/worker/*": "of workers on other machines, in the home of their user: test_machines.py",
}
UP, UP_CODE = ".inkflow/up", "prefect_server"  # what the modules of this room call `home`
PATH = re.compile(r"\.inkflow(/[\w.*@-]+)+")
FOLDERS = ("flows", "stages")


def unnamed(root: Path, patterns: Iterable[str]) -> list[str]:
    """Returns the files of the state of the project at `root` that neither `patterns` nor UNREAD name."""
    files = {path for folder in STATE for path in (root / folder).rglob("*") if path.is_file()}
    known = {path for pattern in (*patterns, *UNREAD) for path in root.glob(pattern)}
    return sorted(str(path.relative_to(root)) for path in files - known)


def untried(patterns: Iterable[str], root: Path = ROOT) -> list[str]:
    """Returns the paths below `.inkflow` in the code at `root` that neither `patterns` nor these tables name.

    A folder is named by a pattern of files in it.
    """
    known = [*patterns, *UNREAD, *ELSEWHERE]
    known += [str(folder) for pattern in known for folder in Path(pattern).parents if folder.parts[1:]]
    return sorted(path for path in paths_in_code(root) if not any(fnmatch(path, pattern) for pattern in known))


@cache
def paths_in_code(root: Path = ROOT) -> set[str]:
    """Returns the paths below `.inkflow` that the code of FOLDERS has, with `*` for parts that it computes."""
    found = set()
    for path in (path for folder in FOLDERS for path in (root / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if STATE[0] not in text and " / " not in text:  # makes no such path; to parse all modules takes seconds
            continue
        for node in ast.walk(_module(path)[0]):
            if isinstance(node, ast.BinOp) or (isinstance(node, ast.Constant) and STATE[0] in str(node.value)):
                text = re.sub(r"(/\*)+$", "", _text(node, path, root))
                found |= {text} if PATH.fullmatch(text) else set()
    return found


@cache
def _module(path: Path) -> tuple[ast.Module, dict[str, ast.expr], dict[str, tuple[str, str]]]:
    """Returns a module, what it assigns to its names, and the module and the name of those that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, ast.expr] = {}
    imports: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names |= _pairs(target, node.value)
    return tree, names, imports


def _pairs(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    """Returns the names of an assignment, which may have several, with their values."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name: item for each in pairs for name, item in _pairs(*each).items()}
    return {target.id: value} if isinstance(target, ast.Name) else {}


def _text(node: ast.expr, path: Path, root: Path) -> str:
    """Returns the path that an expression of the module `path` makes; empty for the project, `*` if unknown."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            before, after = _text(left, path, root), _text(right, path, root)
            return after if before in ("", "*") and after.startswith(".") else f"{before}/{after}"
        case ast.Call(func=ast.Name(id="Path"), args=args):
            return "/".join(_text(each, path, root) for each in args)
        case ast.JoinedStr(values=values):
            return "".join(_text(each, path, root) for each in values)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _named(name, path, root)
    return "*"


def _named(name: str, path: Path, root: Path) -> str:
    _, names, imports = _module(path)
    if name in names:
        return _text(names[name], path, root)
    if name in imports:
        module, imported = imports[name]
        other = (root / module.replace(".", "/")).with_suffix(".py")
        return _named(imported, other, root) if other.is_file() else "*"
    return UP if name in ("home", "_home") and UP_CODE in path.parts else "*"
