"""Random Python projects, whose modules import each other in random forms, and random edits of them."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

PACKAGES = ("one", "one.deep", "two")  # with `__init__`; `space` has none
MODULES = (
    "one.a", "one.b", "one.deep.c", "one.deep.d", "two.e", "two.f", "space.g", "space.inner.h", "top", "other",
)  # fmt: skip
LIBRARY = ("helper", "tool")  # in `lib`, which no program searches by itself
COMMANDS = {
    "module": "python -m one.deep.c",
    "package": "python -m two",
    "script": "python top.py",
    "searched": "PYTHONPATH=.:$PYTHONPATH python scripts/run.py",
    "text": "python -c 'import space.g'",
    "below": "cd scripts && PYTHONPATH=..:$PYTHONPATH python -m run",
}
PLAIN = (
    "import {module}",
    "import {module} as m",
    "from {module} import VALUE",
    "from {module} import VALUE as v",
    "from {parent} import {name}",
    "import json, {module}",
    "import importlib; importlib.import_module('{module}')",
    "__import__('{module}')",
    "def late():\n    import {module}\nlate()",
    "class Late:\n    from {module} import VALUE as v",
    "try:\n    import missing_module\nexcept ImportError:\n    import {module}",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {module}",
    "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    from {module} import VALUE",
    "text = 'import {module}'  # import {module}",
)
RELATIVE = ("from {dots}{rest} import VALUE", "from {dots}{rest} import VALUE as v, VALUE as w")
STAR = "from {package} import *"
SEARCHED = (
    "import sys; sys.path.append('{lib}')\nimport {module}",
    "import sys; sys.path.insert(0, '{lib}')\nimport {module}",
    "import sys; sys.path += ['{lib}']\nimport {module}",
    "import sys; sys.path[:0] = ['{lib}']\nimport {module}",
    "import sys; sys.path = [*sys.path, '{lib}']\nimport {module}",
    "from sys import path; path.append('{lib}')\nimport {module}",
    "import site; site.addsitedir('{lib}')\nimport {module}",
)
EXPORTS = (
    "__all__ = {names}",
    "__all__: list[str] = {names}",
    "__all__ = ['VALUE']\n__all__ += {names}",
    "__all__ = []\n__all__.extend({names})",
    "__all__ = [*{names}, 'VALUE']",
)


@dataclass
class RandomProject:
    """A project whose files are lists of statements.

    Attributes:
        root: its folder.
        random: the generator.
        files: the statements of each file, by path.
    """

    root: Path
    random: Random
    files: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Creates and writes the modules, with up to two imports each."""
        places = [f"{package.replace('.', '/')}/__init__.py" for package in PACKAGES]
        places += [f"{module.replace('.', '/')}.py" for module in MODULES]
        for file in [*places, "two/__main__.py", "scripts/run.py", *(f"lib/{name}.py" for name in LIBRARY)]:
            self.files[file] = []
            for _ in range(0 if file.startswith("lib/") else self.random.choice((0, 1, 1, 2))):
                self.files[file].append(self._statement(file))
            self.write(file)

    def text(self, file: str) -> str:
        """Returns the text of a file; a module that is imported in a circle has its names first."""
        statements = sorted(self.files[file], key=lambda text: not text.startswith("__all__"))
        return "\n".join(["VALUE = 1", *statements, ""])

    def write(self, file: str) -> None:
        """Writes a file."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(file))

    def edit(self) -> tuple[str, list[str]]:
        """Adds, removes or replaces a statement of one file; returns the file and its statements before.

        The file is written.
        """
        file = self.random.choice(sorted(self.files))
        before = self.files[file]
        place = self.random.randrange(len(before) + 1)
        removed = self.random.randrange(2)
        added = [self._statement(file)] if not removed or self.random.random() < 0.7 else []
        self.files[file] = [*before[:place], *added, *before[place + removed :]]
        self.write(file)
        return file, before

    def undo(self, file: str, before: list[str]) -> None:
        """Undoes an edit."""
        self.files[file] = before
        self.write(file)

    def _statement(self, file: str) -> str:
        """Returns a statement for a file."""
        package = ".".join(file.split("/")[:-1])
        chance = self.random.random()
        has_exports = any(text.startswith("__all__") for text in self.files[file])
        if file.endswith("__init__.py") and chance < 0.5 and not has_exports:
            inside = [name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == package]
            names = self.random.sample(inside, self.random.randrange(len(inside) + 1))
            return self.random.choice(EXPORTS).format(names=names)
        if chance < 0.15:
            return STAR.format(package=self.random.choice(PACKAGES))
        if chance < 0.3:
            return self.random.choice(SEARCHED).format(lib=self.root / "lib", module=self.random.choice(LIBRARY))
        module = self.random.choice(MODULES)
        if package.startswith("one") and module.startswith("one.") and chance < 0.6:
            level = package.count(".") + 1  # dots that lead to `one`
            return self.random.choice(RELATIVE).format(dots="." * level, rest=module.removeprefix("one."))
        parent, _, name = module.rpartition(".")
        forms = [form for form in PLAIN if parent or "{parent}" not in form]
        return self.random.choice(forms).format(module=module, parent=parent, name=name)
