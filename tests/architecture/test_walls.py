"""Who may import whom: the contracts of import-linter in pyproject.toml, and the sizes of rooms and modules."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import document, modules
from tests.support.root import ROOT

MODULES_A_ROOM = 22
LINES_A_MODULE = 300
LINES_A_FUNCTION = 50


def sources(*folders: str) -> list[Path]:
    """The Python files of `folders`."""
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_imports_keep_to_the_walls() -> None:
    """Every contract holds: layers, no circles, DVC and Prefect in the rooms named for them."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


FORBIDDEN = {  # contract: a module, the forbidden import in it, and how import-linter shows it
    "DVC is imported in": ("flows/core/errors.py", "import dvc.repo", "flows.core.errors -> dvc"),
    "Prefect is imported in": (
        "flows/engine/engine.py",
        "def late() -> None:\n    from prefect import flow",
        "flows.engine.engine -> prefect",
    ),
    "flows imports no library": ("flows/cli/plan.py", "import numpy", "flows.cli.plan -> numpy"),
    "Layers of flows": (
        "flows/core/errors.py",
        "from flows.engine import engine",
        "flows.core.errors -> flows.engine.engine",
    ),
    "flows runs the stages": (
        "flows/tasks/artifacts.py",
        "def late() -> None:\n    from stages.report import gates",
        "flows.tasks.artifacts -> stages.report.gates",
    ),
    "Layers of stages": (
        "stages/train/fit.py",
        "from stages.report import gates",
        "stages.train.fit -> stages.report.gates",
    ),
    "stages knows neither": (
        "stages/base/files.py",
        "from flows.core import errors",
        "stages.base.files -> flows.core.errors",
    ),
    "No circles": (
        "stages/base/errors.py",
        "def late() -> None:\n    from stages.base import timings",
        ".errors -> .timings",
    ),
}


def test_a_forbidden_import_is_found(tmp_path: Path) -> None:
    """Each contract finds the import that it forbids, at the top of a module and within a function."""
    for path in [*sources("flows", "stages"), Path("pyproject.toml")]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    for module, line, _ in FORBIDDEN.values():
        with (tmp_path / module).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    # A title stands over a line of hyphens; a long one, and its line, are wrapped.
    parts = re.split(r"\n(?:-+\n)+", done.stdout.partition("Broken contracts")[2])
    titles = [part.strip().rpartition("\n\n")[2].replace("\n", " ") for part in parts]
    broken = dict(zip(titles, parts[1:], strict=False))
    for contract, (_, _, shown) in FORBIDDEN.items():
        [found] = [part for title, part in broken.items() if title.startswith(contract)]
        assert shown in found, f"{contract}: {found}"


def test_rooms_are_small() -> None:
    """No folder holds more than 22 modules."""
    assert {room.name: len(room.modules) for room in modules.rooms() if len(room.modules) > MODULES_A_ROOM} == {}


def test_each_room_says_what_it_is_for() -> None:
    """Each package of `flows` and `stages` has a docstring."""
    packages = [path for path in sources("flows", "stages") if path.name == "__init__.py"]
    assert [str(path) for path in packages if not ast.get_docstring(ast.parse((ROOT / path).read_text()))] == []


def test_modules_and_functions_are_short() -> None:
    """No module is longer than 300 lines, no function than 50."""
    texts = {
        str(path): (ROOT / path).read_text(encoding="utf-8")
        for path in sources("stages", "flows", "tests", "benchmarks")
    }
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    assert {path: length for path, length in lengths.items() if length > LINES_A_MODULE} == {}
    functions = {(path, *function) for path, text in texts.items() for function in modules.function_lengths(text)}
    assert {function for function in functions if function[2] > LINES_A_FUNCTION} == set()


@pytest.mark.farm  # a part of `make lint`
def test_architecture_page_is_what_the_code_says() -> None:
    """docs/architecture.md has the drawing and the tables of this code."""
    text = (ROOT / document.PAGE).read_text(encoding="utf-8")
    assert document.fresh(text) == text, "write it again with `make architecture`"


def test_private_names_stay_in_their_module() -> None:
    """No module imports a name with a leading underscore of another module of the project."""
    found = [
        f"{path}: {alias.name}"
        for path in sources("flows", "stages")
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("flows", "stages"))
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert found == []
