"""Finds the project files that a Python program imports, by the rules of Python's own import system.

Grimp reads packages alone and modulefinder no namespace packages; many stages are single scripts.
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import machinery
from pathlib import Path

from flows.python_code.commands import Program
from flows.python_code.import_scan import Reference, Source, scan

LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


@dataclass(frozen=True)
class Imports:
    """What a program imports.

    Attributes:
        files: project files, relative to the project's folder, that of the program included.
        dynamic: imports of computed modules, `file:line: code`.
        is_own: True if the program itself is a file of the project, or the text of `-c`.
    """

    files: frozenset[str]
    dynamic: tuple[str, ...] = ()
    is_own: bool = True


class ImportFinder:
    """Follows imports in one project; reads each file once."""

    def __init__(self, root: Path, files: Collection[str]) -> None:
        """Creates the finder.

        Args:
            root: the project's folder.
            files: the files of the project, relative to it: what git ignores is none of them.
        """
        self.root = root.resolve()
        self.files = tuple(files)
        self._project = {(self.root / file): file for file in files}
        self._sources: dict[tuple[str, int, int], Source] = {}
        self._finders: dict[str, machinery.FileFinder] = {}

    def imports_of(self, program: Program) -> Imports:
        """Returns the project files that `program` imports, directly and by other modules."""
        return _Search(self, program).run()

    def has_code(self, file: str) -> bool:
        """Returns False for a module that is empty or has only a docstring: a change of it can change nothing."""
        return self.source(file).has_code

    def source(self, file: str) -> Source:
        """Returns the imports of a project file; a file that Python cannot read is named as dynamic."""
        path = self.root / file
        try:
            status = path.stat()
            key = file, status.st_mtime_ns, status.st_size
            if key not in self._sources:
                self._sources[key] = scan(path.read_bytes(), file)
        except OSError as error:
            return Source(dynamic=[f"{file}: {error.strerror}"])
        return self._sources[key]

    def project_file(self, path: Path) -> str | None:
        """Returns `path` relative to the project's folder; None if it is no file of the project."""
        absolute = path if path.is_absolute() else self.root / path
        return self._project.get(absolute) or self._project.get(absolute.resolve())

    def locate(self, name: str, folders: Sequence[str]) -> tuple[Path | None, tuple[str, ...]] | None:
        """Returns the file of a module, None for a namespace package, and the folders of its submodules."""
        portions: list[str] = []
        for folder in folders:
            finder = self._finders.get(folder) or self._finders.setdefault(
                folder, machinery.FileFinder(folder, *LOADERS)
            )
            spec = finder.find_spec(name)
            if spec is not None and spec.loader is not None and spec.origin is not None:
                return Path(spec.origin), tuple(spec.submodule_search_locations or ())
            portions += (spec.submodule_search_locations or ()) if spec is not None else ()
        return (None, tuple(portions)) if portions else None


class _Search:
    """The search of one program's imports."""

    def __init__(self, finder: ImportFinder, program: Program) -> None:
        self._finder = finder
        self._program = program
        self._files: dict[str, None] = {}
        self._dynamic: dict[str, None] = {}
        self._modules: dict[str, tuple[Path | None, tuple[str, ...]] | None] = {}
        self._due: list[tuple[Source, str]] = []  # a file's imports, and the package to which relative ones refer
        self._followed: list[tuple[Source, str]] = []
        self._added: dict[str, None] = {}  # folders of sys.path

    def run(self) -> Imports:
        program, folder = self._program, self._program.folder
        is_own = True
        if program.code:
            self._due.append((scan(program.code.encode(), "-c"), ""))
        elif program.script:
            file = self._finder.project_file((folder / program.script).absolute())
            is_own = file is not None
            if file is not None:
                self._add(file, "")
        else:
            self._import(program.module)
            self._import(f"{program.module}.__main__")
            is_own = bool(self._files) and self._is_own(program.module)
        while self._due:
            self._follow(*self._due.pop())
        return Imports(frozenset(self._files), tuple(self._dynamic), is_own)

    @cached_property
    def _path(self) -> list[str]:
        """The folders in which Python looks for modules, and those from which an installed project comes."""
        program, folder = self._program, self._program.folder
        own = folder / program.script if program.script else folder / "any"
        first = [] if program.safe_path else [str(own.resolve().parent)]
        named = [str((folder / entry).resolve()) for entry in program.search]
        return [*first, *named, *filter(None, sys.path), str(self._finder.root), str(self._finder.root / "src")]

    def _is_own(self, module: str) -> bool:
        located = self._locate(module)
        if located is None:
            return False
        path, folders = located
        paths = [path] if path else [Path(folder) / "__main__.py" for folder in folders]
        return any(self._finder.project_file(item) for item in paths)

    def _locate(self, name: str) -> tuple[Path | None, tuple[str, ...]] | None:
        if name not in self._modules:
            parent = name.rpartition(".")[0]
            located = self._locate(parent) if parent else (None, ())
            folders = located[1] if parent and located else () if parent else (*self._added, *self._path)
            is_builtin = not parent and name in sys.builtin_module_names
            self._modules[name] = None if is_builtin else self._finder.locate(name, folders)
        return self._modules[name]

    def _import(self, name: str) -> None:
        """Adds the files of the module `name` and of the packages above it."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            module = ".".join(parts[:length])
            located = self._locate(module)
            if located is None:
                return
            file = self._finder.project_file(located[0]) if located[0] else None
            if file is not None and file.endswith(".py"):
                self._add(file, module if located[1] else module.rpartition(".")[0])

    def _add(self, file: str, package: str) -> None:
        if file not in self._files:
            self._files[file] = None
            self._due.append((self._finder.source(file), package))

    def _follow(self, source: Source, package: str) -> None:
        self._dynamic |= dict.fromkeys(source.dynamic)
        self._followed.append((source, package))
        added = dict.fromkeys(str((self._program.folder / entry).resolve()) for entry in source.search)
        if not added.keys() <= self._added.keys():  # modules that were not found before may be there
            self._added |= added
            self._modules.clear()
            self._due, self._followed = self._due + self._followed, []
            return
        for reference in source.references:
            module = _absolute(reference, package)
            if not module:
                continue
            self._import(module)
            for name in self._names(module, reference.names):
                self._import(f"{module}.{name}")

    def _names(self, module: str, names: Sequence[str]) -> Sequence[str]:
        """Returns `names`; for `*`, those that the module exports, of which Python imports submodules."""
        located = self._locate(module)
        if "*" not in names or located is None or located[0] is None:
            return names
        file = self._finder.project_file(located[0])
        return self._finder.source(file).exported if file else ()


def _absolute(reference: Reference, package: str) -> str:
    """Returns the full name of the module that `reference` imports in a module of `package`; empty if there is none."""
    if not reference.level:
        return reference.module
    parts = package.split(".") if package else []
    if reference.level - 1 >= len(parts):
        return ""
    base = parts[: len(parts) - reference.level + 1]
    return ".".join([*base, *([reference.module] if reference.module else [])])
