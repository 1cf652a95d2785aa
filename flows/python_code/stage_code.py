"""Compares the code that the stages of a graph declare with the code that their programs import."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.core.errors import GitFailed
from flows.core.git import git_names
from flows.python_code.commands import OtherCommand, Program, parse_commands
from flows.python_code.cover import covers, uncovered
from flows.python_code.imports import ImportFinder
from flows.python_code.named import Code, Commands, named_by
from flows.python_code.readers import Readers, readers_in


@dataclass(frozen=True)
class StageCode:
    """What DVC's graph says of the code of one stage.

    Attributes:
        name: DVC's address of the stage.
        file: its dvc.yaml, relative to the project's folder.
        entry: its name in that file, without the item of a template.
        folder: its working directory.
        lines: the shell lines of its command.
        listed: the path of each entry of its list `deps` relative to the project's folder; empty for one elsewhere.
        variables: the expressions of its template, `${item}`, with their values for this stage.
    """

    name: str
    file: str
    entry: str
    folder: Path
    lines: tuple[str, ...]
    listed: tuple[str, ...]
    variables: Mapping[str, str]

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The files and folders of the project that it declares, relative to the project's folder."""
        return tuple(filter(None, self.listed))


@dataclass(frozen=True)
class Finding:
    """The comparison of one stage.

    Attributes:
        stage: the stage.
        files: the project files that its programs import.
        missing: those of them in no dependency; a module that is empty or has only a docstring may be missing.
        needless: declared code that no program of the stage imports.
        unused: files in declared folders that no program of the stage imports.
        dynamic: imports of computed modules, which cannot be followed.
        unknown: commands that cannot be looked into.
    """

    stage: StageCode
    files: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    needless: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def compare(stage: StageCode, finder: ImportFinder, python_files: Collection[str]) -> Finding:
    """Compares what `stage` declares with what its programs import."""
    commands = parse_commands(stage.lines, stage.folder)
    files: set[str] = set()
    dynamic: list[str] = []
    unknown = [item.text for item in commands if isinstance(item, OtherCommand) and not item.is_harmless]
    programs = [item for item in commands if isinstance(item, Program)]
    for program in programs:
        imports = finder.imports_of(program)
        files |= imports.files
        dynamic += imports.dynamic
        unknown += [] if imports.is_own else [f"{program.name}, which is no file of this project"]
    if not files:
        return Finding(stage, unknown=tuple(unknown), dynamic=tuple(dynamic))
    missing = uncovered(filter(finder.has_code, files), stage.dependencies)
    code = [item for item in stage.dependencies if any(covers(item, file) for file in python_files)]
    idle = [item for item in code if not any(covers(item, file) for file in files)]
    is_certain = not dynamic and not unknown and not any(program.is_computed for program in programs)
    needless = _without_named(idle, commands, files, finder, python_files) if idle and is_certain else []
    inside = {file for file in python_files if any(covers(item, file) for item in code if item not in idle)}
    return Finding(
        stage, frozenset(files), tuple(missing), tuple(needless), tuple(sorted(inside - files)), tuple(dynamic),
        tuple(unknown),
    )  # fmt: skip


def has_data(path: Path) -> bool:
    """Returns True for a folder with files other than Python code: the programs of a stage may read them."""
    files = (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else ()
    return any(file.suffix not in (".py", ".pyc", ".pyi", ".pyx") and file.name != "py.typed" for file in files)


def code_of(commands: Commands, files: Iterable[str], root: Path) -> Code:
    """Returns what the code of a stage reads: that of `files`, and the texts of `python -c`."""
    programs = [item for item in commands if isinstance(item, Program) and item.code]
    return [
        *((file, _readers(root / file)) for file in sorted(files)),
        *((item.name, readers_in(item.code.encode())) for item in programs),
    ]


def _readers(path: Path) -> Readers:
    try:
        return readers_in(path.read_bytes())
    except OSError:
        return Readers(source=True)


def _without_named(
    entries: Sequence[str],
    commands: Commands,
    files: Collection[str],
    finder: ImportFinder,
    python_files: Collection[str],
) -> list[str]:
    """Returns those of `entries` that hold nothing but code, which no command and no text in the code names."""
    named = named_by(commands, code_of(commands, files, finder.root), finder.root, python_files)
    return [
        item
        for item in entries
        if not any(covers(item, path) for path in named.paths)
        and not any(named.includes(file) for file in [item, *python_files] if covers(item, file))
        and not has_data(finder.root / item)
    ]


def python_files(root: Path) -> list[str]:
    """Returns the Python files below `root` that git does not ignore, relative to it; without git, all visible ones."""
    try:
        names = git_names(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.py"], root)
        return sorted({name for name in names if (root / name).is_file()})
    except GitFailed:
        found: list[str] = []
        for folder, folders, files in os.walk(root):
            folders[:] = [
                name for name in folders if name[0] != "." and not (Path(folder) / name / "pyvenv.cfg").exists()
            ]
            found += [os.path.relpath(Path(folder) / name, root) for name in files if name.endswith(".py")]
        return sorted(found)
