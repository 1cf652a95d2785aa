"""The files that a program imports are found by Python's own rules."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from flows.python_code.commands import Program, parse_commands
from flows.python_code.imports import ImportFinder, Imports
from flows.python_code.stage_code import python_files
from tests.architecture.modules import module_path
from tests.support.root import ROOT

PROJECT = {
    "train.py": "import utils\nfrom pkg import one\n",
    "utils.py": "import json\nimport numpy\n",
    "pkg/__init__.py": "LEVEL = 1\n",
    "pkg/__main__.py": "from . import two\n",
    "pkg/one.py": "def late():\n    from pkg.deep.three import x\n",
    "pkg/two.py": "from .deep import *\nfrom .deep.three import x\nfrom ..outside import y\n",
    "pkg/deep/__init__.py": "__all__ = ['four', 'no_module']\n",
    "pkg/deep/three.py": "x = 1\n",
    "pkg/deep/four.py": "",
    "pkg/types.py": "class A: ...\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pkg.types\nelse:\n    import utils\n",
    "space/inner/a.py": "import space.inner.b\n",
    "space/inner/b.py": "",
    "use_space.py": "from space.inner import a\n",
    "lib/helper.py": "",
    "scripts/run.py": "import helper\nimport near\n",
    "scripts/near.py": "",
    "scripts/path.py": "import sys\nsys.path.append('lib')\nimport helper\n",
    "plugins.py": "import importlib\nimportlib.import_module('utils')\nname = 'x'\nimportlib.import_module(name)\n",
    "circle_a.py": "import circle_b\n",
    "circle_b.py": "import circle_a\n",
    "broken.py": "def (:\n",
    "use_broken.py": "import broken\n",
    "src/installed/__init__.py": "from installed import part\n",
    "src/installed/part.py": "",
    "entry.py": "import installed\n",
    "json.py": "raise RuntimeError\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with modules of many kinds."""
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def imports(project: Path, command: str, folder: str = ".") -> Imports:
    """Returns the imports of the program in `command`."""
    (program,) = parse_commands([command], project / folder)
    assert isinstance(program, Program)
    return ImportFinder(project, list(PROJECT)).imports_of(program)


@pytest.mark.parametrize(
    ("command", "folder", "files"),
    [
        (
            "python train.py",
            ".",
            "train.py utils.py json.py pkg/__init__.py pkg/one.py pkg/deep/__init__.py pkg/deep/three.py",
        ),
        (
            "python -m pkg",
            ".",
            "pkg/__init__.py pkg/__main__.py pkg/two.py pkg/deep/__init__.py pkg/deep/three.py pkg/deep/four.py",
        ),
        ("python -m pkg.deep.three", ".", "pkg/__init__.py pkg/deep/__init__.py pkg/deep/three.py"),
        ("python typed.py", ".", "typed.py utils.py json.py"),
        ("python use_space.py", ".", "use_space.py space/inner/a.py space/inner/b.py"),
        ("python scripts/run.py", ".", "scripts/run.py scripts/near.py"),
        ("PYTHONPATH=lib python scripts/run.py", ".", "scripts/run.py scripts/near.py lib/helper.py"),
        ("PYTHONPATH=../lib python run.py", "scripts", "scripts/run.py scripts/near.py lib/helper.py"),
        ("python scripts/path.py", ".", "scripts/path.py lib/helper.py"),
        ("python circle_a.py", ".", "circle_a.py circle_b.py"),
        ("python entry.py", ".", "entry.py src/installed/__init__.py src/installed/part.py"),
        ("python -c 'import circle_a'", ".", "circle_a.py circle_b.py"),
        ("python -m pytest", ".", ""),
    ],
)
def test_files_of_a_program(project: Path, command: str, folder: str, files: str) -> None:
    """Scripts, modules, late and relative imports, namespace packages and search paths lead to the right files."""
    assert imports(project, command, folder).files == set(files.split())


@pytest.mark.parametrize(
    "text",
    [
        "__all__: list[str] = ['one']",
        "__all__ = []\n__all__ += ['one']",
        "__all__ = []\n__all__.append('one')",
        "__all__ = ['two']\n__all__.extend(('one',))",
        "import pkg.types\n__all__ = pkg.types.__all__ + ['one']",
        "__all__ = ['one']\n__all__ += ['two']",
    ],
)
def test_exported_submodules(project: Path, text: str) -> None:
    """`from package import *` imports the submodules that the package exports, however it lists them."""
    (project / "pkg" / "__init__.py").write_text(text)
    assert "pkg/one.py" in imports(project, "python -c 'from pkg import *'").files


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.path += ['lib']",
        "import sys; sys.path[:0] = ['lib']",
        "import sys; sys.path[0] = 'lib'",
        "import sys; sys.path = ['lib', *sys.path[1:]]",
        "import sys; sys.path: list[str] = sys.path + ['lib']",
        "import sys; sys.path.extend(('lib', 'src'))",
        "import sys as s; s.path.insert(0, 'lib')",
        "from sys import path; path.append('lib')",
        "from sys import path as p; p += ['lib']",
        "import site; site.addsitedir('lib')",
        "from site import addsitedir; addsitedir('lib')",
        "import setup_path",
    ],
)
def test_literal_changes_of_the_path(project: Path, text: str) -> None:
    """A folder that a module adds to sys.path is searched, also for what another module imports."""
    (project / "setup_path.py").write_text("import sys\nsys.path.append('lib')\n")
    found = ImportFinder(project, [*PROJECT, "setup_path.py"]).imports_of(
        Program(project, code=f"{text}\nimport helper")
    )
    assert "lib/helper.py" in found.files and not found.dynamic
    (project / "train.py").write_text(f"{text}\nimport helper")
    if "setup_path" not in text:
        run = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.path += FOLDERS",
        "import sys; sys.path[:0] = [str(ROOT)]",
        "import sys; sys.path = ['lib' + NAME]",
        "import sys; sys.path.append(ROOT + '/lib')",
        "import sys; sys.path.insert(0, f'{ROOT}/lib')",
        "from sys import path; path.append(ROOT)",
        "import site; site.addsitedir(ROOT)",
    ],
)
def test_computed_changes_of_the_path_are_named(project: Path, text: str) -> None:
    """What follows them cannot be found, so the line is told."""
    found = ImportFinder(project, list(PROJECT)).imports_of(Program(project, code=text))
    assert found.dynamic == (f"-c:1: {text.partition('; ')[2]}",)


@pytest.mark.parametrize("text", ["sys.path = [p for p in sys.path if p]", "path = [ROOT]", "os.path.append(ROOT)"])
def test_other_changes_are_none(project: Path, text: str) -> None:
    """A shorter sys.path and other lists of this name add no folder."""
    found = ImportFinder(project, list(PROJECT)).imports_of(Program(project, code=f"import os, sys\n{text}"))
    assert not found.dynamic


def test_imports_that_cannot_be_followed_are_named(project: Path) -> None:
    """A module by a literal name is followed; a computed one, and a file that Python cannot read, are named."""
    assert imports(project, "python plugins.py").files == {"plugins.py", "utils.py", "json.py"}
    assert imports(project, "python plugins.py").dynamic == ("plugins.py:4: importlib.import_module(name)",)
    assert imports(project, "python use_broken.py").dynamic == ("broken.py: invalid syntax",)
    assert not imports(project, "python -m pytest").is_own
    assert not imports(project, "python absent.py").is_own


def test_the_same_files_as_grimp() -> None:
    """For the programs of this project another library finds the same modules."""
    graph = grimp.build_graph("stages", "flows", cache_dir=None, exclude_type_checking_imports=True)
    finder = ImportFinder(ROOT, python_files(ROOT))
    for stage in ("params", "download", "prepare", "train", "evaluate", "report"):
        main = f"stages.{stage}.__main__"
        modules = graph.find_upstream_modules(main) | {main}
        packages = {".".join(name.split(".")[:n]) for name in modules for n in range(1, len(name.split(".")))}
        (program,) = parse_commands([f"python -m stages.{stage}"], ROOT)
        assert isinstance(program, Program)
        assert finder.imports_of(program).files == {str(module_path(name)) for name in modules | packages}


def test_what_python_really_loads(project: Path) -> None:
    """Python itself loads the files that are found for a package with relative imports and exported submodules."""
    (project / "json.py").unlink()  # a module of Python's own name, which breaks other programs in this folder
    (project / "pkg" / "two.py").write_text("from .deep import four\nfrom .deep.three import x\n")
    recorder = (
        "import sys, pkg.__main__\nprint(*[m.__file__ for m in sys.modules.values() if getattr(m, '__file__', 0)])"
    )
    output = subprocess.run(
        [sys.executable, "-c", recorder], cwd=project, capture_output=True, text=True, check=True
    ).stdout
    loaded = {str(Path(file).relative_to(project)) for file in output.split() if Path(file).is_relative_to(project)}
    assert imports(project, "python -m pkg").files == loaded
