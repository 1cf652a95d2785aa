"""Stages that open files at random, in random ways; it is known which of the files they should have declared."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np

HEAD = """
import os, shutil, subprocess, sys, tempfile, threading
from pathlib import Path

CONTENT = {content}
CHILD = [sys.executable, "-c", "import sys; open(sys.argv[1], 'rb').read()"]

def read_open(path): open(path, "rb").read()
def read_text(path): open(path, encoding="latin-1").read()
def read_update(path): open(path, "r+b").read()
def read_bytes(path): open(os.fsencode(path), "rb").read()
def read_descriptor(path): os.read(os.open(path, os.O_RDONLY), 10)
def read_path(path): Path(path).read_bytes()
def read_opener(path): open(path, "rb", opener=lambda name, flags: os.open(name, flags)).read()
def read_copy(path): shutil.copyfile(path, os.devnull)
def read_relative(path): open(os.path.join("programs", "..", ".", os.path.relpath(path)), "rb").read()
def read_absolute(path): open(os.path.abspath(path), "rb").read()
def read_child(path): subprocess.run([*CHILD, path], check=True)
def read_shell(path): subprocess.run(["/bin/sh", "-c", '"$@" && true', "sh", *CHILD, path], check=True)

def read_numpy(path):
    import numpy
    numpy.load(path)

def read_thread(path):
    thread = threading.Thread(target=read_open, args=[path])
    thread.start()
    thread.join()

def read_chdir(path):
    here = os.getcwd()
    os.chdir(os.path.dirname(path))
    read_open(os.path.basename(path))
    os.chdir(here)

def read_fork(path):
    child = os.fork()
    if not child:
        read_open(path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

def make_open(path): open(path, "wb").write(CONTENT)
def make_new(path): open(path, "xb").write(CONTENT)
def make_append(path): open(path, "a+b").write(CONTENT)
def make_path(path): Path(path).write_bytes(CONTENT)
def make_descriptor(path): os.write(os.open(path, os.O_RDWR | os.O_CREAT), CONTENT)
def make_program(path): subprocess.run(["/bin/cp", sys.argv[1], path], check=True)

def make_replaced(path):
    make_open(path + ".tmp")
    os.replace(path + ".tmp", path)

def make_missing(path):
    try:
        read_open(path)
    except FileNotFoundError:
        make_open(path)

def make_child(path):
    program = "import sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read())"
    subprocess.run([sys.executable, "-c", program, sys.argv[1], path], check=True)

"""
READERS = re.findall(r"def (read_\w+)", HEAD)
MAKERS = re.findall(r"def (make_\w+)", HEAD)
DECLARED = ("declared.npy", "folder/a.npy", "folder/deep/b.npy")
UNDECLARED = ("data/a.npy", "data/deep/b.npy", "data/deep/ü.npy", "extra.npy")
APPENDED, EMPTIED = ("log/a.npy", "log/b.npy"), ("state/a.npy", "state/b.npy")  # neither is declared
KINDS = ("declared", "undeclared", "undeclared", "outside", "own", "temporary", "appended", "emptied", "overwritten")


@dataclass(frozen=True)
class RandomStage:
    """A stage of a project.

    Attributes:
        name: its name; its files are in the folder of that name.
        lines: the lines of its program after HEAD.
        undeclared: the files that it reads and should have declared.
    """

    name: str
    lines: tuple[str, ...]
    undeclared: frozenset[str]

    @property
    def entry(self) -> str:
        """The stage in dvc.yaml."""
        program = f"programs/{self.name}.py"
        deps = f"[{program}, {self.name}/declared.npy, {self.name}/folder]"
        command = f"python {program} {self.name}/declared.npy"
        return f"  {self.name}: {{cmd: {command}, deps: {deps}, outs: [{self.name}.out]}}\n"

    def write(self, root: Path) -> None:
        """Writes its program, and the files that are there before it runs."""
        buffer = BytesIO()
        np.save(buffer, np.arange(3))
        for file in (*DECLARED, *UNDECLARED, *APPENDED, *EMPTIED):
            path = root / self.name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(buffer.getvalue())
        end = f"make_open('{self.name}.out')"
        text = HEAD.replace("{content}", repr(buffer.getvalue())) + "\n".join([*self.lines, end, ""])
        (root / "programs").mkdir(exist_ok=True)
        (root / "programs" / f"{self.name}.py").write_text(text, encoding="utf-8")


def random_stage(random: Random, name: str, outside: Path) -> RandomStage:
    """Returns a stage that opens 2 to 6 files.

    Args:
        random: the generator.
        name: the name of the stage.
        outside: a file that is not in the project.
    """
    lines: list[str] = []
    undeclared: set[str] = set()
    for number in range(random.randrange(2, 7)):
        for line, read in _lines(random, name, number, outside):
            lines.append(line)
            undeclared |= {read} if read else set()
    return RandomStage(name, tuple(lines), frozenset(undeclared))


def _lines(random: Random, name: str, number: int, outside: Path) -> Iterator[tuple[str, str]]:
    """Yields lines of a program, each with the undeclared file that it reads, if it reads one."""
    kind, reader = random.choice(KINDS), random.choice(READERS)
    if kind == "declared":
        yield f"{reader}('{name}/{random.choice(DECLARED)}')", ""
    elif kind == "undeclared":
        path = f"{name}/{random.choice(UNDECLARED)}"
        yield f"{reader}('{path}')", path
    elif kind == "outside":
        yield f"{reader}({str(outside)!r})", ""
    elif kind == "own":
        yield f"{random.choice(MAKERS)}('{name}/own{number}.npy')", ""
        yield f"{reader}('{name}/own{number}.npy')", ""
    elif kind == "temporary":
        folder = random.choice(["None", f"'{name}'"])
        yield f"with tempfile.NamedTemporaryFile(dir={folder}) as file:", ""
        yield f"    file.write(CONTENT); file.flush(); {reader}(file.name)", ""
    elif kind == "appended":
        path = f"{name}/{random.choice(APPENDED)}"
        yield f"open('{path}', 'ab').write(b'1')", ""
        if random.random() < 0.5:
            yield f"{reader}('{path}')", path
    elif kind == "emptied":
        path = f"{name}/{random.choice(EMPTIED)}"
        yield f"make_open('{path}'); {reader}('{path}')", ""
    else:
        path = f"{name}/{random.choice(UNDECLARED)}"
        yield f"{reader}('{path}'); make_open('{path}'); {random.choice(READERS)}('{path}')", path
