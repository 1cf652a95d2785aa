"""Undeclared inputs: a stage that reads a file of the project which is no dependency is reported, and no other."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.core.errors import UndeclaredInputs
from flows.engine.opened_files.record import FOLDER, SITE
from flows.engine.policy import load_policies
from tests.conftest import Toy, run_engine
from tests.flows.engine.fork_helpers import ON_LINUX
from tests.flows.engine.helpers import RecordingDisplay, status, succeeded

READS = """
import json, os, subprocess, sys
from pathlib import Path
open("declared.txt").read()
Path("folder/inside.txt").read_text()
{code}
Path("out").write_text("done")
"""
GRAPH = """
stages:
  a:
    cmd: {command}
    deps: [program.py, declared.txt, folder]
    params: [value]
    outs: [out]
"""
UNDECLARED = {
    "open": ("open('data/extra.csv').read()", "data/extra.csv"),
    "bytes": ("open(b'data/extra.csv', 'rb').read()", "data/extra.csv"),
    "path object": ("Path('data', 'extra.csv').read_bytes()", "data/extra.csv"),
    "descriptor": ("os.close(os.open('data/extra.csv', os.O_RDONLY))", "data/extra.csv"),
    "other spelling": ("open('folder/../data/./extra.csv').read()", "data/extra.csv"),
    "after chdir": ("os.chdir('data'); open('extra.csv').read(); os.chdir('..')", "data/extra.csv"),
    "update": ("open('data/extra.csv', 'r+').read()", "data/extra.csv"),
    "child": (
        "subprocess.run([sys.executable, '-c', \"open('data/extra.csv')\"], check=True)",
        "data/extra.csv",
    ),
    "shell's child": ('os.system("python -c \\"open(\'data/extra.csv\')\\"")', "data/extra.csv"),
    "import": ("import helper", "helper.py"),
    "late import": ("__import__('helper')", "helper.py"),
    "unusual name": ("open('data/ü\\n.txt').read()", "data/ü\n.txt"),
    "numpy": ("import numpy; numpy.load('data/array.npy')", "data/array.npy"),
}
DECLARED = {
    "nothing": "pass",
    "parameters": "open('params.yaml').read()",
    "own file": "open('own.txt', 'w').write('1'); open('own.txt').read()",
    "own appended file": "open('own.txt', 'x').write('1'); open('own.txt', 'a').write('2'); open('own.txt').read()",
    "missing": "os.path.exists('none.txt')\ntry: open('none.txt')\nexcept OSError: pass",
    "outside": "open(os.__file__).read()",
    "package without code": "import package",
    "descriptor number": "os.close(os.open('declared.txt', os.O_RDONLY)); open(0, closefd=False)",
    "git": "open('.git/HEAD').read()",
    "graph": "open('dvc.yaml').read()",
}


def project(toy: Toy, code: str, command: str = "python program.py", **files: str) -> RecordingDisplay:
    """Makes a project with one stage that runs `code`, runs it, and returns what was displayed."""
    names = {"declared.txt": "1", "folder/inside.txt": "2", "data/extra.csv": "3", "data/ü\n.txt": "4"}
    code = READS.format(code=code)
    modules = {"helper.py": "VALUE = 1\n", "package/__init__.py": '"""A package."""\n', "program.py": code}
    (toy.folder / "folder").mkdir(exist_ok=True)
    for name in ("data", "package"):
        (toy.folder / name).mkdir(exist_ok=True)
    import numpy as np

    np.save(toy.folder / "data" / "array.npy", np.zeros(3))
    toy.write({**names, **modules, "params.yaml": "value: 1\n", "dvc.yaml": GRAPH.format(command=command), **files})
    display = RecordingDisplay()
    succeeded(run_engine(display=display, policies=load_policies(toy.folder)))
    return display


def warnings(display: RecordingDisplay) -> list[str]:
    """The lines of the stage that warn."""
    return [line for line in display.lines if line.startswith("warning:")]


@pytest.mark.parametrize("kind", UNDECLARED)
def test_a_file_that_is_no_dependency_is_reported(toy: Toy, kind: str) -> None:
    """However Python opens it, in the stage's process or in one that it starts."""
    code, name = UNDECLARED[kind]
    (warning,) = warnings(project(toy, code))
    assert warning.startswith(f"warning: a read {name}, but it is not among its deps")
    assert status() == {}


@pytest.mark.parametrize("kind", DECLARED)
def test_other_files_are_not_reported(toy: Toy, kind: str) -> None:
    """Dependencies, parameters, own files, files of tools and of other folders are no undeclared inputs."""
    assert warnings(project(toy, DECLARED[kind])) == []
    assert list((toy.folder / FOLDER).iterdir()) == []


@ON_LINUX
def test_a_fork_is_watched_too(toy: Toy) -> None:
    """A stage whose modules are preloaded is a fork, and what it reads is reported."""
    policy = 'stages: {"*": {preload: [json]}}\n'
    display = project(toy, "import helper; open('data/extra.csv')", "python -m program", **{"execution.yaml": policy})
    (warning,) = warnings(display)
    assert "data/extra.csv, helper.py" in warning
    assert not [note for note in display.notes if "preload" in note]


def test_the_policy_decides(toy: Toy) -> None:
    """`ignore` says nothing; `fail` fails the stage with the sentence, and its outputs are not recorded."""
    code = "open('data/extra.csv')"
    assert warnings(project(toy, code, **{"execution.yaml": "undeclared: ignore\n"})) == []
    toy.write({"declared.txt": "changed", "execution.yaml": "undeclared: warn\nstages: {a: {undeclared: fail}}\n"})
    run = run_engine(policies=load_policies(toy.folder))
    assert isinstance(run.errors["a"], UndeclaredInputs)
    assert "a read data/extra.csv" in str(run.errors["a"])
    assert status() != {}


def test_the_environment_s_own_sitecustomize_still_runs(toy: Toy) -> None:
    """The folder of the hook hides no `sitecustomize`, and does not stay in the path of the stage."""
    code = f"import sitecustomize; assert sitecustomize.MINE; assert {str(SITE)!r} not in sys.path"
    (toy.folder / "site").mkdir()
    toy.write({"site/sitecustomize.py": "MINE = True\n"})
    display = project(toy, code, f"PYTHONPATH=$PYTHONPATH:{toy.folder / 'site'} python program.py")
    (warning,) = warnings(display)
    assert "site/sitecustomize.py" in warning


def test_without_a_run_nothing_is_noted(tmp_path: Path) -> None:
    """A process that outlives the run, or that no engine started, goes on without the hook."""
    for record in ("", str(tmp_path / ".inkflow" / "opened" / "gone")):
        environment = {"PYTHONPATH": str(SITE), "INKFLOW_OPENED": record}
        subprocess.run([sys.executable, "-c", "open(__import__('os').__file__)"], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
