"""Judges whether a change of a stage's Python files can change its outputs, or is one of comments and formatting.

A change counts as cosmetic only if everything that the stage runs can be seen: all commands are Python programs of the
project, the file is one that they import, no argument names it, and no code of the stage reads source as text.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from flows.python_code.commands import OtherCommand, Program, parse_commands
from flows.python_code.cover import covers
from flows.python_code.imports import ImportFinder
from flows.python_code.named import Code, Commands, named_by
from flows.python_code.readers import readers_in
from flows.python_code.stage_code import StageCode, code_of, python_files
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
        unknown = _unknown(commands)
        if unknown is not None:
            return unknown
        imports = [self._finder.imports_of(item) for item in commands if isinstance(item, Program)]
        if not imports or not all(item.is_own for item in imports):
            return "it runs no Python program of this project, or another one too"
        imported = {file for item in imports for file in item.files}
        declared = {
            file for file in self._finder.files if any(covers(path, file) for path in stage.dependencies)
        }  # what computed imports may load
        code = code_of(commands, imported | declared, self._root)
        for file, readers in code:
            if readers.source:
                return f"{file} may read source as text"
        if _searches_unknown_folder(code):
            return "it searches Python files in an unknown folder"
        named = named_by(commands, code, self._root, self._finder.files)
        docstrings = any(readers.docstrings for _, readers in code)
        type_comments = any(readers.type_comments for _, readers in code)

        def is_cosmetic(path: str, old: bytes, new: bytes) -> bool:
            if path not in imported or named.includes(path):
                return False
            counts = docstrings or readers_in(old).own_docstrings or readers_in(new).own_docstrings
            return is_same_program(old, new, docstrings=counts, type_comments=type_comments)

        return is_cosmetic


def _unknown(commands: Commands) -> str | None:
    """Returns why it cannot be told what the commands read; None if it can."""
    for item in commands:
        if isinstance(item, OtherCommand) and not item.is_harmless:
            return f"`{item.text}` is no Python program of this project"
        if isinstance(item, Program) and item.is_computed:
            return f"the shell computes arguments or variables of {item.name}"
    return None


def _searches_unknown_folder(code: Code) -> bool:
    """Returns True if a module searches Python files in a folder whose name is no constant of the code."""
    constants = {name for _, readers in code for name, _ in readers.constants}
    return any(not readers.folder_names <= constants for _, readers in code)
