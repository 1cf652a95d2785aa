"""Judges whether a change of a stage's Python files can change its outputs, or is one of comments and formatting.

A change counts as cosmetic only if everything that the stage runs can be seen: all commands are Python programs of the
project, the file is one that they import, no argument names it, and no code of the stage reads source as text.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from flows.python_code.commands import OtherCommand, Program, parse_commands
from flows.python_code.cover import covers
from flows.python_code.imports import ImportFinder
from flows.python_code.readers import Readers, readers_in
from flows.python_code.stage_code import StageCode, named_paths, python_files
from flows.python_code.syntax import is_same_program

Judge = Callable[[str, bytes, bytes], bool]


class CosmeticJudge:
    """Judges changes of Python files in one project."""

    def __init__(self, root: Path, finder: ImportFinder | None = None) -> None:
        self._root = root.resolve()
        self._given = finder

    @cached_property
    def _finder(self) -> ImportFinder:
        return self._given or ImportFinder(self._root, python_files(self._root))

    def judge(self, stage: StageCode) -> Judge | str:
        """Returns a function that tells for a path, its old and its new content, whether the change is cosmetic.

        Returns:
            The reason if no change of the stage's code is cosmetic.
        """
        commands = parse_commands(stage.lines, stage.folder)
        for item in commands:
            if isinstance(item, OtherCommand) and not item.is_harmless:
                return f"`{item.text}` is no Python program of this project"
        imports = [self._finder.imports_of(item) for item in commands if isinstance(item, Program)]
        if not imports or not all(item.is_own for item in imports):
            return "it runs no Python program of this project, or another one too"
        imported = {file for item in imports for file in item.files}
        declared = {
            file for file in self._finder.files if any(covers(path, file) for path in stage.dependencies)
        }  # what computed imports may load
        code = {file: self._readers(file) for file in imported | declared}
        for file, readers in sorted(code.items()):
            if readers.source:
                return f"{file} may read source as text"
        read = _read_folders(code.values())
        if read is None:
            return "it searches Python files in an unknown folder"
        roots = [os.path.relpath(stage.folder / folder, self._root) for folder in read]
        data = {*named_paths(commands, self._root), *map(os.path.normpath, roots)}
        names = {name for readers in code.values() for name in readers.names}
        docstrings = any(readers.docstrings for readers in code.values())
        type_comments = any(readers.type_comments for readers in code.values())

        def is_cosmetic(path: str, old: bytes, new: bytes) -> bool:
            if path not in imported or _is_named(path, names) or any(_includes(item, path) for item in data):
                return False
            counts = docstrings or readers_in(old).own_docstrings or readers_in(new).own_docstrings
            return is_same_program(old, new, docstrings=counts, type_comments=type_comments)

        return is_cosmetic

    def _readers(self, file: str) -> Readers:
        try:
            return readers_in((self._root / file).read_bytes())
        except OSError:
            return Readers(source=True)


def _is_named(path: str, names: Iterable[str]) -> bool:
    """Returns True if one of `names` may be the file `path`; `__init__.py` alone is too common to mean one file."""
    name = Path(path).name
    return any(text.endswith(f"/{name}") or (text == name != "__init__.py") for text in names)


def _includes(place: str, path: str) -> bool:
    """Returns True if the file `path` lies in `place`, which may be a folder above the project."""
    return covers(place, path) or set(place.split("/")) == {".."}


def _read_folders(code: Iterable[Readers]) -> Sequence[str] | None:
    """Returns the folders in which modules search Python files; None if one is named by an unknown constant."""
    modules = list(code)
    folders = [folder for readers in modules for folder in readers.folders]
    constants = [pair for readers in modules for pair in readers.constants]
    for name in {name for readers in modules for name in readers.folder_names}:
        values = [value for constant, value in constants if constant == name]
        if not values:
            return None
        folders += values
    return folders
