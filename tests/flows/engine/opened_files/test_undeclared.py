"""Undeclared inputs: a stage that reads a file of the project which is no dependency is reported, and no other."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.core.errors import UndeclaredInputs
from flows.engine.opened_files.record import FOLDER, SITE, UndeclaredCheck, undeclared
from flows.engine.policy import load_policies
from flows.engine.types import Command
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
    "child": (
        "subprocess.run([sys.executable, '-c', \"open('data/extra.csv')\"], check=True)",
        "data/extra.csv",
    ),
    "import": ("import helper", "helper.py"),
    "numpy": ("import numpy; numpy.load('data/array.npy')", "data/array.npy"),
    "bytes": ("open(b'data/extra.csv', 'rb').read()", "data/extra.csv"),
    "path object": ("Path('data', 'extra.csv').read_bytes()", "data/extra.csv"),
    "descriptor": ("os.close(os.open('data/extra.csv', os.O_RDONLY))", "data/extra.csv"),
    "other spelling": ("open('folder/../data/./extra.csv').read()", "data/extra.csv"),
    "after chdir": ("os.chdir('data'); open('extra.csv').read(); os.chdir('..')", "data/extra.csv"),
    "update": ("open('data/extra.csv', 'r+').read()", "data/extra.csv"),
    "shell's child": ('os.system("python -c \\"open(\'data/extra.csv\')\\"")', "data/extra.csv"),
    "late import": ("__import__('helper')", "helper.py"),
    "unusual name": ("open('data/ü\\n.txt').read()", "data/ü\n.txt"),
}
DECLARED = {
    "parameters": "open('params.yaml').read()",
    "own file": "open('own.txt', 'w').write('1'); open('own.txt').read()",
    "own appended file": "open('more.txt', 'x').write('1'); open('more.txt', 'a').write('2'); open('more.txt').read()",
    "missing": "os.path.exists('none.txt')\ntry: open('none.txt')\nexcept OSError: pass",
    "outside": "open(os.__file__).read()",
    "package without code": "import package",
    "descriptor number": "os.close(os.open('declared.txt', os.O_RDONLY)); open(0, closefd=False)",
    "git": "open('.git/HEAD').read()",
    "graph": "open('dvc.yaml').read()",
}


def project(toy: Toy, code: str, command: str = "python program.py", **files: str) -> RecordingDisplay:
    """Makes a project with one stage that runs `code`, runs it, and returns what was displayed."""
    own = {
        "program.py": READS.format(code=code),
        "params.yaml": "value: 1\n",
        "dvc.yaml": GRAPH.format(command=command),
    }
    write_files(toy)
    toy.write(own | files)
    display = RecordingDisplay()
    succeeded(run_engine(display=display, policies=load_policies(toy.folder)))
    return display


def write_files(toy: Toy) -> None:
    """Writes files that programs read."""
    names = {"declared.txt": "1", "folder/inside.txt": "2", "data/extra.csv": "3", "data/ü\n.txt": "4"}
    toy.write(names | {"helper.py": "VALUE = 1\n", "package/__init__.py": '"""A package."""\n'})
    np.save(toy.folder / "data" / "array.npy", np.zeros(3))


def warnings(display: RecordingDisplay) -> list[str]:
    """The lines of the stage that warn."""
    return [line for line in display.lines if line.startswith("warning:")]


@pytest.mark.cases(4)
@pytest.mark.parametrize("kind", UNDECLARED)
def test_a_file_that_is_no_dependency_is_reported(toy: Toy, kind: str) -> None:
    """However Python opens it, in the stage's process or in one that it starts."""
    code, name = UNDECLARED[kind]
    (warning,) = warnings(project(toy, code))
    assert warning.startswith(f"warning: a read {name}, but it is not among its deps")
    assert status() == {}


@pytest.mark.cases(1)
@pytest.mark.parametrize("code", ["\n".join(DECLARED.values()), *DECLARED.values()], ids=["all", *DECLARED])
def test_other_files_are_not_reported(toy: Toy, code: str) -> None:
    """Dependencies, parameters, own files, files of tools and of other folders are no undeclared inputs."""
    assert warnings(project(toy, code)) == []
    assert list((toy.folder / FOLDER).iterdir()) == []


def test_a_file_that_dvc_ignores_is_reported(toy: Toy) -> None:
    """A declared folder does not stand for files that `.dvcignore` keeps out of its hash."""
    files = {".dvcignore": "*.csv\n", "folder/table.csv": "1"}
    (warning,) = warnings(project(toy, "open('folder/table.csv').read()", **files))
    assert warning.startswith("warning: a read folder/table.csv (in .dvcignore), but it is not among its deps")


@pytest.mark.parametrize("way", ["PYTHONPATH=folder python program.py", "python -I program.py"])
def test_a_command_that_hides_what_it_reads(toy: Toy, way: str) -> None:
    """Python without the run's PYTHONPATH notes nothing: the run says so; `fail` fails the stage before it starts."""
    code = "open('data/extra.csv').read()"
    (warning,) = warnings(project(toy, code, way))
    assert "so it is not seen what its Python processes read; keep the PYTHONPATH of the run" in warning
    toy.write({"declared.txt": "changed", "execution.yaml": "undeclared: fail\n", "program.py": "1 / 0"})
    run = run_engine(policies=load_policies(toy.folder))
    assert isinstance(run.errors["a"], UndeclaredInputs) and str(run.errors["a"]) == warning[len("warning: ") :]


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


def test_a_damaged_record_fails_no_stage(toy: Toy) -> None:
    """Lines that a full disk has cut are left out; the others count."""
    toy.write({"in": "one"})
    record = toy.folder / "record"
    record.write_bytes(b"r1\tin\nr1\tcut\\x\nr\nr1\t\nr1\t.\n\xff\nr1\t" + b"x" * 5000 + b"\nr1\tother\\u00")
    command = Command("a", (), ".")
    assert undeclared(toy.folder, record, command, 2) == ["in"]
    assert undeclared(toy.folder, toy.folder, command, 2) == []


def test_a_folder_that_cannot_be_made_fails_no_stage(tmp_path: Path) -> None:
    """Without a place for the record nothing is noticed."""
    (tmp_path / FOLDER.parts[0]).write_text("a file in place of the folder")
    lines: list[str] = []
    with UndeclaredCheck(tmp_path, Command("a", (), "."), "warn", lines.append) as check:
        check.end()
    assert check.variables == {} and lines == []


def test_a_failed_stage_leaves_no_record(toy: Toy) -> None:
    """The record goes with the stage, also if that fails."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: python -c 'open(\"in\"); exit(3)', outs: [out]}}\n", "in": ""})
    assert "exit code 3" in str(run_engine().errors["a"])
    assert list((toy.folder / FOLDER).iterdir()) == []


def watched(folder: Path, code: str, site: Path = SITE) -> list[str]:
    """Runs `code` in a process that notes what it opens, and returns the lines of its record."""
    record = folder / FOLDER / "a"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    environment = {"PYTHONPATH": str(site), "INKFLOW_OPENED": str(record), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, check=True)
    return record.read_text().splitlines()


@pytest.mark.parametrize("kind", UNDECLARED)
def test_a_file_that_is_no_dependency_is_noted(toy: Toy, kind: str) -> None:
    """The record has it, however Python opens it: that a run reads the record is seen with some of them."""
    code, name = UNDECLARED[kind]
    write_files(toy)
    watched(toy.folder, f"import os, subprocess, sys\nfrom pathlib import Path\n{code}")
    assert undeclared(toy.folder, toy.folder / FOLDER / "a", Command("a", (), "."), 2**63) == [name]


def test_a_record_has_an_end(tmp_path: Path) -> None:
    """One process writes a limited number of lines, here 1,000, and none into a record of more than 20 MB."""
    folder, site = tmp_path / "project", tmp_path / "site"
    hook, limit = (SITE / "sitecustomize.py").read_text(), "MAX_LINES = 100000 "
    assert hook.count(limit) == 1
    site.mkdir()
    (site / "sitecustomize.py").write_text(hook.replace(limit, "MAX_LINES = 1000 "))
    code = "import os, sys\nfor n in range(1_500): sys.audit('open', f'f{n}', 'w', os.O_CREAT)"
    assert len(watched(folder, code, site)) == 1_000
    record = folder / FOLDER / "a"
    record.write_bytes(b"")
    with record.open("r+b") as file:
        file.truncate(20_000_001)
    watched(folder, "open('new', 'w')")
    assert record.stat().st_size == 20_000_001


def test_nothing_is_noted_in_a_file_of_the_program(tmp_path: Path) -> None:
    """A program that closes all descriptors and opens its own file in their place finds its own content in it."""
    (tmp_path / "in").touch()
    code = """
import os
os.closerange(3, 256)
os.write(os.open('mine', os.O_WRONLY | os.O_CREAT), b'mine')
for _ in range(20): os.dup(3)
open('in').close()
"""
    watched(tmp_path, code)
    assert (tmp_path / "mine").read_text() == "mine"
