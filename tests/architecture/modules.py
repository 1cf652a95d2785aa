"""The project's modules: who imports whom, how long they are, and which stages of dvc.yaml depend on them."""

import ast
import statistics
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML

from tests.support.root import ROOT

PACKAGES = ("flows", "stages")
NOT_DATA = {".py", ".pyc"}


@dataclass(frozen=True)
class Room:
    """The modules of one folder: a line of the metrics table."""

    name: str
    modules: tuple[str, ...]
    lines: int
    functions: tuple[int, ...]  # lines of each
    imports_out: int  # modules of other rooms that it imports
    imports_in: int  # modules of other rooms that import it

    @property
    def median(self) -> float:
        """Median length of a function, in lines."""
        return statistics.median(self.functions) if self.functions else 0


@cache
def import_graph() -> grimp.ImportGraph:
    """Imports between all modules of `flows` and `stages`, those within functions too."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def module_path(module: str) -> Path:
    """File of a module or package, relative to the project."""
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def room_of(module: str) -> str:
    """The package in whose folder the module lies."""
    return ".".join(module_path(module).parent.parts)


def rooms() -> list[Room]:
    """All rooms, by name."""
    graph = import_graph()
    members: dict[str, list[str]] = {}
    for module in sorted(graph.modules):
        members.setdefault(room_of(module), []).append(module)
    return [_room(name, modules) for name, modules in sorted(members.items())]


def _room(name: str, modules: list[str]) -> Room:
    graph = import_graph()
    texts = [(ROOT / module_path(module)).read_text(encoding="utf-8") for module in modules]
    outside = {other for module in modules for other in graph.find_modules_directly_imported_by(module)}
    importers = {other for module in modules for other in graph.find_modules_that_directly_import(module)}
    return Room(
        name,
        tuple(modules),
        sum(len(text.splitlines()) for text in texts),
        tuple(length for text in texts for _, length in function_lengths(text)),
        sum(room_of(other) != name for other in outside),
        sum(room_of(other) != name for other in importers),
    )


def function_lengths(source: str) -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function in the text of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


@cache
def dvc_stages() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, without their foreach."""
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: entry.get("do", entry) for name, entry in stages.items()}


def program_of(stage: str) -> str:
    """Module that the stage's command runs: `python -m MODULE ...`."""
    return str(dvc_stages()[stage]["cmd"].split()[2])


def code_dependencies(stage: str) -> list[Path]:
    """Those of the stage's deps that are code."""
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in dvc_stages()[stage]["deps"]]
    return [Path(name) for name in names if name.startswith("stages/")]


def needed_modules(stage: str) -> set[str]:
    """Modules that the stage's program may import, and the packages above them that have code of their own."""
    program = f"{program_of(stage)}.__main__"
    modules = import_graph().find_upstream_modules(program) | {program}
    parts = [module.split(".") for module in modules]
    packages = {".".join(names[:length]) for names in parts for length in range(1, len(names))}
    return {module for module in modules | packages if has_code(module)}


@cache
def has_code(module: str) -> bool:
    """Whether the file holds more than a docstring."""
    return len(ast.parse((ROOT / module_path(module)).read_text(encoding="utf-8")).body) > 1


def declared_modules(stage: str) -> set[str]:
    """Modules in the folders and files that the stage depends on."""
    folders = [".".join(path.with_suffix("").parts) for path in code_dependencies(stage)]
    return {
        module
        for module in import_graph().modules
        if has_code(module) and any(module == folder or module.startswith(f"{folder}.") for folder in folders)
    }


def layers(package: str) -> list[list[str]]:
    """The layers of a package from the top, as pyproject.toml gives them to import-linter."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = [entry for entry in config["contracts"] if entry.get("containers") == [package]]
    return [layer.split(" | ") for layer in contract["layers"]]
