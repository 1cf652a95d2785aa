"""Finds the files and folders of a project that the commands or the code of a stage name: they may be data."""

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from flows.python_code.commands import BRACE, OtherCommand, Program
from flows.python_code.cover import covers
from flows.python_code.readers import PIECE, Readers

BRACES = re.compile(r"\{([^{}\s]*,[^{}\s]*)\}")  # `{a,b}`, for which a shell may put `a` and `b`
MAX_CHOICES = 100  # words for one with braces
RANGE = re.compile(r"\{\w+\.\.\w+\}")
CLASS = re.compile(r"\[[^\]]*\]")
WILD = frozenset("*?[")
NAMING = {"export", "test", "["}  # harmless commands whose words may name what the program or the shell looks at

Commands = Sequence[Program | OtherCommand]
Code = Sequence[tuple[str, Readers]]  # the files that a stage runs, or names of programs without one


@dataclass(frozen=True)
class Named:
    """What the commands and the code of a stage name, relative to the project's folder.

    Attributes:
        paths: files and folders.
        patterns: shell patterns of files.
        words: the words of the commands.
        files: texts in the code that end in `.py`.
    """

    paths: frozenset[str]
    patterns: frozenset[str]
    words: frozenset[str]
    files: frozenset[str]

    def includes(self, path: str) -> bool:
        """Returns True if `path`, or a folder in which it lies, is named."""
        name = PurePosixPath(path).name
        return (
            any(covers(item, path) or not item.strip("./") for item in self.paths)  # "../.." is above the project
            or any(fnmatchcase(path, end) for item in self.patterns for end in (item, f"{item}/*"))
            or (path.endswith(".py") and any(name in word for word in self.words))
            or any(text.endswith(f"/{name}") or (text == name != "__init__.py") for text in self.files)
        )


def named_by(commands: Commands, code: Code, root: Path, python_files: Collection[str]) -> Named:
    """Returns what is named besides the programs themselves.

    Args:
        commands: the commands of the stage.
        code: what its code reads.
        root: the project's folder.
        python_files: the Python files of the project.
    """
    folders = {item.folder for item in commands if isinstance(item, Program)}
    words = {pair for item in commands for pair in _words(item, folders)}
    paths = {(folder, piece) for folder, word in words for piece in _pieces(word)}
    searched = {(folder, path) for folder in folders for path in _searched(code)}
    return Named(
        frozenset(os.path.relpath(folder / path, root) for folder, path in paths | searched if path.strip("/"))
        | frozenset(_folders_in_texts(code, folders, root, python_files)),
        frozenset(_pattern(folder, path, root) for folder, path in paths if WILD & set(path)),
        frozenset(word for _, word in words),
        frozenset(text for _, readers in code for text in readers.names),
    )


def _words(command: Program | OtherCommand, folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yields the words of a command that may name data, with a folder to which they may be relative."""
    if isinstance(command, Program):
        yield from ((command.folder, word) for word in (*command.arguments, *command.variables))
        return
    first, *words = command.text.split(" ")
    for word in words if first in NAMING else ():
        yield from ((folder, word) for folder in folders if not word.startswith("PYTHONPATH="))


def _searched(code: Code) -> set[str]:
    """Returns the folders in which code searches files, those behind the name of another module's constant included."""
    names = {name for _, readers in code for name in readers.folder_names}
    constants = {value for _, readers in code for name, value in readers.constants if name in names}
    return constants.union(*(readers.folders for _, readers in code))


def _pieces(word: str) -> Iterator[str]:
    """Yields what may be a path in a word: `--files=a,b` may have `a` and `b`."""
    for choice in _choices(word):
        text = RANGE.sub("*", choice).replace(BRACE, "{")
        pieces = {text, text.partition("=")[2], *PIECE.findall(text)}
        yield from (os.path.expanduser(piece) for piece in pieces if piece)  # noqa: PTH111  # no error for `~name`


def _choices(word: str) -> list[str]:
    """Returns the words that a shell puts for one with braces; `*` stands for a group if there are too many."""
    words = [word]
    while braces := BRACES.search(words[0]):
        choices = braces[1].split(",")
        choices = choices if len(words) * len(choices) <= MAX_CHOICES else ["*"]
        parts = [BRACES.split(item, maxsplit=1) for item in words]
        words = [before + choice + after for before, _, after in parts for choice in choices]
    return words


def _pattern(folder: Path, path: str, root: Path) -> str:
    """Returns a shell pattern relative to the project's folder; a class of characters stands for any one of them."""
    return os.path.relpath(Path(glob.escape(str(folder))) / CLASS.sub("?", path), glob.escape(str(root)))


def _folders_in_texts(
    code: Code, folders: Collection[Path], root: Path, python_files: Collection[str]
) -> Iterator[str]:
    """Yields the folders with code that are texts in the code, as they stand there, or as the end of a longer path.

    Those that a module joins with its own path lie beside it, or beside a folder above it.
    """
    known = {str(parent) for file in python_files for parent in PurePosixPath(file).parents}
    names = {PurePosixPath(item).name for item in known} - {""}
    for file, readers in code:
        for path in readers.texts:
            if path.startswith("/") or path.rpartition("/")[2] in names:
                yield from known & {os.path.relpath(folder / path, root) for folder in folders}
                yield from (item for item in known if path.endswith(f"/{item}"))
        for path in readers.beside:
            places = [root / parent for parent in PurePosixPath(file).parents]
            yield from known & {os.path.relpath(f"{place}/{path}", root) for place in places if path.strip("./")}
