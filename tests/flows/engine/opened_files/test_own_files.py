"""Which files are a stage's own, and which names a declared file has: in processes that note what they open."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.engine.opened_files.record import SITE, UndeclaredCheck
from flows.engine.types import Command

CHILD = "subprocess.run([sys.executable, '-c', 'import helper'], check=True, env=os.environ | {})"
COMPILED = "{'PYTHONPYCACHEPREFIX': os.path.abspath('.inkflow/compiled')}"
OWN = {
    "a replaced file": "open('t.tmp', 'w').close(); os.replace('t.tmp', 't.json'); open('t.json')",
    "a file in a renamed folder": "os.mkdir('t'); open('t/x', 'w').close(); os.rename('t', 'u'); open('u/x')",
    "a new file, also to be read": "open('own.log', 'a+'); open('own.log')",
    "a new file without a mode": "os.close(os.open('own.log', os.O_RDWR | os.O_CREAT)); open('own.log')",
    "a file that was missing": "try: open('c')\nexcept OSError: open('c', 'w').close(); open('c')",
    "a shell's file": "os.system('sort declared.txt > mid.txt'); open('mid.txt')",
    "a shell's file with an old time": "os.system('touch -d 2001-01-01 mid.txt'); open('mid.txt')",
    "a shell's module": "os.system('mkdir m; echo A = 1 > m/made.py'); sys.path.append('m'); import made",
    "a file that is only appended to": "print(2, file=open('old.txt', 'a'))",
    "a file that may not be created again": "try: open('old.txt', 'x+')\nexcept OSError: pass",
    "a cache of compiled functions": "open('__pycache__/f.nbi')",
}
READ = {
    "appended to before": "print(2, file=open('old.txt', 'a')); open('old.txt').read()",
    "not created": "try: open('old.txt', 'x')\nexcept OSError: open('old.txt').read()",
    "overwritten after": "open('old.txt').read(); open('old.txt', 'w').close(); open('old.txt')",
    "overwritten in part": "os.write(os.open('old.txt', os.O_WRONLY | os.O_CREAT), b'2'); open('old.txt')",
    "beside a temporary file": "import tempfile; tempfile.TemporaryFile(dir='.'); open('old.txt')",
}


def reported(folder: Path, code: str, *declared: str, **facts: Any) -> str:
    """Runs `code` as a stage with the dependency `declared.txt` and others, and returns which files are reported."""
    lines: list[str] = []
    files = [path for path in folder.rglob("*") if path.is_file()]
    newest, probe = max(path.stat().st_ctime_ns for path in files), folder / "probe"
    while not probe.exists() or probe.stat().st_ctime_ns <= newest:  # the clock of a file system has ticks
        probe.write_text("1")
    command = Command("a", (), ".", declared=("declared.txt", *declared), **facts)
    with UndeclaredCheck(folder, command, "warn", lines.append) as check:
        environment = os.environ | {"PYTHONPATH": str(SITE)} | check.variables
        program = [sys.executable, "-c", f"import os, subprocess, sys\n{code}"]
        subprocess.run(program, env=environment, cwd=folder, check=True)
        check.end()
    return "".join(line.partition(" read ")[2].partition(", but")[0] for line in lines)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with files of a project."""
    for name in ("declared.txt", "old.txt", "helper.py", "__pycache__/f.nbi", "store/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    (tmp_path / "link").symlink_to("store")
    return tmp_path


@pytest.mark.parametrize("kind", OWN)
def test_a_file_that_the_stage_makes_is_its_own(project: Path, kind: str) -> None:
    """However it comes to be: by another name, in another mode, by a program that is not Python."""
    assert reported(project, OWN[kind]) == ""


@pytest.mark.parametrize("kind", READ)
def test_a_file_with_earlier_content_is_not(project: Path, kind: str) -> None:
    """A file that was there before the stage is an input, as long as its content may count."""
    assert reported(project, READ[kind]) == "old.txt"


def test_the_file_of_another_stage_is_not(project: Path) -> None:
    """What another stage writes at the same time is an input that is not declared."""
    assert reported(project, OWN["a shell's file"], graph_outputs=frozenset({"mid.txt"})) == "mid.txt"
    code = "os.mkdir('o'); os.system('echo 1 > o/x'); open('o/x')"
    assert reported(project, code, graph_outputs=frozenset({"o"})) == "o/x"


@pytest.mark.parametrize("prefix", ["{}", COMPILED])
def test_a_compiled_module_stands_for_its_source(project: Path, prefix: str) -> None:
    """Also where Python reads it from the cache alone, and has that cache in another place."""
    child = CHILD.replace("{}", prefix)
    compiled = f"os.environ |= {{'INKFLOW_OPENED': ''}}; {child}"
    assert reported(project, compiled) == ""
    assert list(project.rglob("helper.*.pyc"))
    assert reported(project, child) == "helper.py"


def test_files_that_are_ignored(project: Path) -> None:
    """A folder does not stand for them; a file that is declared itself does."""
    facts: dict[str, Any] = {"is_ignored": lambda path: path.endswith(".txt")}
    assert reported(project, "open('store/x.txt')", "store", **facts) == "store/x.txt (in .dvcignore)"
    assert reported(project, "open('store/x.txt')", "store/x.txt", **facts) == ""


@pytest.mark.parametrize(("declared", "opened"), [("link", "store"), ("store", "link"), ("link/x.txt", "store")])
def test_a_link_and_its_target_are_the_same(project: Path, declared: str, opened: str) -> None:
    """A stage that declares a link may open the file by its real path, and the other way round."""
    assert reported(project, f"open('{opened}/x.txt')", declared) == ""
    assert reported(project, f"open('{opened}/x.txt')") == f"{opened}/x.txt"
