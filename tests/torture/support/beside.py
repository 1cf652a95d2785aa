"""A small project, and everything that people do beside a run of it, with what each side may say if it refuses."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from tests.conftest import Toy
from tests.support.root import ROOT

RUN = ("run", "--no-server", "--jobs=2")
# Each stage writes what it read beside its output, so that a record can be compared with what was in fact read.
STAGE = """
import os, sys, time
import parameters
name, seconds, *inputs = sys.argv[1:]
seconds = float(seconds) * float(os.environ["SLOWNESS"])
time.sleep(seconds / 2)
read = {path: open(path, "rb").read() for path in inputs}
speed = parameters.value("speed")
time.sleep(seconds / 2)
text = b"".join(read[path] for path in inputs) + f"{name} {speed}\\n".encode()
open(name, "wb").write(text)
"""
PARAMETERS = """
def value(key):
    lines = dict(line.split(": ") for line in open("params.yaml").read().splitlines() if ": " in line)
    return lines[key]
"""
GRAPH = """
stages:
  first:
    cmd: python stage.py first {seconds} in
    deps: [stage.py, parameters.py, in]
    params: [speed]
    outs: [first]
  left:
    cmd: python stage.py left {seconds} first
    deps: [stage.py, parameters.py, first]
    params: [speed]
    outs: [left]
  right:
    cmd: python stage.py right {seconds} first other
    deps: [stage.py, parameters.py, first, other]
    params: [speed]
    outs: [right]
  last:
    cmd: python stage.py last 0 left right
    deps: [stage.py, parameters.py, left, right]
    params: [speed]
    outs: [last]
"""
# How a command may end beside a run if it does not end right: the sentences that it may say.
CHANGED = r"(?:first|left|right|last): [^;\n]+ changed while it ran; its result is not recorded, run again$"
NO_FILE = (  # a checkout removes a file and writes it; each stage reads params.yaml itself
    r"error: (?:first|left|right|last) failed \(exit code 1\): "
    r"(?:FileNotFoundError: [^\n]* '(?:in|params\.yaml)'|KeyError: 'speed')$"
    r"|error: Parameters 'speed' are missing from 'params\.yaml'\.$"
)
HELD = (  # by DVC, which does not wait
    r"^ERROR: (?:failed to reproduce '\w+': )?"
    r"(?:'[^'\n]+' is busy, it is being blocked by:$|Unable to acquire lock\. Most likely another DVC)"
)


def expected(inputs: Mapping[str, bytes], speed: int) -> dict[str, bytes]:
    """Returns the outputs that the graph makes of these inputs."""
    first = inputs["in"] + f"first {speed}\n".encode()
    left = first + f"left {speed}\n".encode()
    right = first + inputs["other"] + f"right {speed}\n".encode()
    return {"first": first, "left": left, "right": right, "last": left + right + f"last {speed}\n".encode()}


@dataclass(frozen=True)
class Beside:
    """Something that is done while a run is under way.

    Attributes:
        name: for messages.
        act: does it in the folder; returns the processes that it started.
        run: the sentence with which the run may refuse; it always ends right without one.
        other: the same of the processes that `act` started.
        is_command: `act` starts a command, which needs seconds to begin.
    """

    name: str
    act: "Act"
    run: str = ""
    other: str = ""
    is_command: bool = False


class Project:
    """A small project in Git whose stages take a part of a second each.

    Attributes:
        slowness: how much longer they take than dvc.yaml says.
    """

    slowness = 1.0

    def __init__(self, toy: Toy, seconds: float) -> None:
        self.toy, self.folder = toy, toy.folder
        files = {"stage.py": STAGE, "parameters.py": PARAMETERS, "dvc.yaml": GRAPH.format(seconds=seconds)}
        toy.write({**files, "in": "one\n", "other": "other\n", "params.yaml": "speed: 1\nunused: 1\n"})
        self.git("config", "user.name", "n")
        self.git("config", "user.email", "e@x")
        self.write_ignore()
        self.git("add", ".")
        self.git("commit", "-qm", "one")
        self.git("checkout", "-qb", "side")
        toy.write({"in": "side\n", "params.yaml": "speed: 9\nunused: 1\n"})
        self.git("commit", "-qam", "side")
        self.git("checkout", "-q", "-")

    def switch(self) -> None:
        """Checks the other branch out; edits of files that Git knows go to its stash."""
        if self.git("status", "--porcelain", "--untracked-files=no"):
            self.git("stash", "-q")
        self.git("checkout", "-q", "side" if self.git("branch", "--show-current").strip() != "side" else "-")

    def write_ignore(self) -> None:
        """Lets Git ignore the outputs, as DVC does, and what only tests write."""
        self.toy.write({".gitignore": "/first\n/left\n/right\n/last\n/.inkflow\n__pycache__\n"})

    def git(self, *arguments: str) -> str:
        """Runs git, and returns its output."""
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Starts `inkflow` with these words, or another program by its name."""
        words = [sys.executable, "-m", "flows", *command] if command[0] not in ("dvc", "git") else list(command)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "SLOWNESS": str(self.slowness)}
        self.latest = subprocess.Popen(
            words, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self.latest

    def state(self) -> tuple[dict[str, bytes], int]:
        """Returns the inputs and the parameter that the project has now."""
        params = YAML(typ="safe").load((self.folder / "params.yaml").read_text())
        return {name: (self.folder / name).read_bytes() for name in ("in", "other")}, params["speed"]


Started = list["subprocess.Popen[str]"]
Act = Callable[["Project", random.Random], Started]


def _there_and_back(project: Project, dice: random.Random) -> Started:
    project.switch()
    time.sleep(dice.uniform(0.0, 0.6))
    project.switch()
    return []


def _switch(project: Project, dice: random.Random) -> Started:
    project.switch()
    return []


def _parameter_and_back(project: Project, dice: random.Random) -> Started:
    path = project.folder / "params.yaml"
    before = path.read_text()
    _replace(path, "speed: 1000\nunused: 1\n")
    time.sleep(dice.uniform(0.1, 0.6))
    _replace(path, before)
    return []


def _parameter_until_the_end(project: Project, dice: random.Random) -> Started:
    path = project.folder / "params.yaml"
    before = path.read_text()
    _replace(path, "speed: 1000\nunused: 1\n")
    project.latest.wait(240)
    _replace(path, before)
    return []


def _replace(path: Path, text: str) -> None:
    """Writes a file as editors do: a reader gets the old content or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _edit(name: str, make: Callable[[random.Random], str]) -> Act:
    def edit(project: Project, dice: random.Random) -> Started:
        _replace(project.folder / name, make(dice))
        return []

    return edit


def _commit(project: Project, dice: random.Random) -> Started:
    return [project.start("git", "commit", "-q", "--allow-empty", "-am", "meanwhile")]


def _command(name: str, *words: str, run: str = "", other: str = "") -> Beside:
    return Beside(name, lambda project, _: [project.start(*words)], run, other, is_command=True)


# No window in which the run has to notice the edit: for `make test`, on machines of any speed.
PATIENT = Beside("edit of a parameter until the run ends", _parameter_until_the_end, CHANGED)
BESIDE = (
    _command("another run", *RUN),
    Beside("edit of a parameter and back", _parameter_and_back, CHANGED),
    _command("dvc repro", "dvc", "repro", other=HELD),
    Beside("checkout and back", _there_and_back, f"{CHANGED}|{NO_FILE}"),
    Beside("edit of an input", _edit("in", lambda dice: f"{dice.random()}\n"), CHANGED),
    Beside(
        "edit of params.yaml", _edit("params.yaml", lambda dice: f"speed: {dice.randrange(99)}\nunused: 2\n"), CHANGED
    ),
    Beside(
        "edit of dvc.yaml",
        _edit("dvc.yaml", lambda dice: GRAPH.format(seconds=round(dice.uniform(0.1, 0.3), 3))),
    ),
    Beside("checkout of another commit", _switch, f"{CHANGED}|{NO_FILE}"),
    Beside("commit", _commit),
    _command("prune", "prune", "--older-than=0d"),
    # It writes its parameters into params.yaml for a moment, to stash them.
    _command("dvc exp run", "dvc", "exp", "run", "--temp", "-S", "speed=5", run=CHANGED, other=HELD),
    _command("sweep", "sweep", "--local", "--grid", "speed=3,4"),
    _command("run with --set", *RUN, "--set", "speed=7"),
    _command("dvc status", "dvc", "status", other=HELD),
    _command("plan", "plan"),
    _command("status", "status"),
    _command("report", "report", "--runs"),
    _command("dvc gc", "dvc", "gc", "-w", "-f", other=HELD),
)
