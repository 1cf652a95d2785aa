"""A run beside everything that people do meanwhile: each ends right, or says that it waits or refuses."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.engine.output_backup import has_backups
from tests.conftest import Toy, wait_until
from tests.flows.engine.helpers import stage_processes
from tests.support.root import ROOT
from tests.torture.conftest import Rounds, Try

SUBJECT = "At the same time"
SEED = 17
RUN = ("run", "--no-server", "--jobs=2")
# Each stage writes what it read beside its output, so that a record can be compared with what was in fact read.
STAGE = """
import sys, time
import parameters
name, seconds, *inputs = sys.argv[1:]
time.sleep(float(seconds) / 2)
read = {path: open(path, "rb").read() for path in inputs}
speed = parameters.value("speed")
time.sleep(float(seconds) / 2)
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
SAYS = (  # what may be said by a command that refuses or waits: a sentence, no traceback
    "is busy, it is being blocked by", "waits", "changed while it ran", "Another run is under way", "being written",
    "Unable to acquire lock", "is under way", "was interrupted", "cannot be", "error: ", "ERROR: ",
)  # fmt: skip


def expected(inputs: Mapping[str, bytes], speed: int) -> dict[str, bytes]:
    """Returns the outputs that the graph makes of these inputs."""
    first = inputs["in"] + f"first {speed}\n".encode()
    left = first + f"left {speed}\n".encode()
    right = first + inputs["other"] + f"right {speed}\n".encode()
    return {"first": first, "left": left, "right": right, "last": left + right + f"last {speed}\n".encode()}


@dataclass
class Beside:
    """Something that is done while a run is under way.

    Attributes:
        name: for messages.
        act: does it in the folder; returns the processes that it started.
    """

    name: str
    act: "Act"


class Project:
    """A small project in Git whose stages take a part of a second each."""

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
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            words, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

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


def _process(*words: str) -> Act:
    return lambda project, _: [project.start(*words)]


BESIDE = (
    Beside("another run", _process(*RUN)),
    Beside("edit of a parameter and back", _parameter_and_back),
    Beside("dvc repro", _process("dvc", "repro")),
    Beside("checkout and back", _there_and_back),
    Beside("edit of an input", _edit("in", lambda dice: f"{dice.random()}\n")),
    Beside("edit of params.yaml", _edit("params.yaml", lambda dice: f"speed: {dice.randrange(99)}\nunused: 2\n")),
    Beside("edit of dvc.yaml", _edit("dvc.yaml", lambda dice: GRAPH.format(seconds=round(dice.uniform(0.1, 0.3), 3)))),
    Beside("checkout of another commit", _switch),
    Beside("commit", _commit),
    Beside("prune", _process("prune", "--older-than=0d")),
    Beside("dvc exp run", _process("dvc", "exp", "run", "--temp", "-S", "speed=5")),
    Beside("sweep", _process("sweep", "--local", "--grid", "speed=3,4")),
    Beside("run with --set", _process(*RUN, "--set", "speed=7")),
    Beside("dvc status", _process("dvc", "status")),
    Beside("plan", _process("plan")),
    Beside("status", _process("status")),
    Beside("report", _process("report", "--runs")),
    Beside("dvc gc", _process("dvc", "gc", "-w", "-f")),
)  # fmt: skip


@contextmanager
def finished(processes: Started) -> Iterator[None]:
    """Ends the processes at the end of the block, if they have not ended themselves."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_beside(promise: Try, rounds: Rounds, toy: Toy) -> None:
    """A run beside each of these at a random moment: both end without a traceback, and no record is wrong."""
    dice = random.Random(SEED)
    project = Project(toy, 0.6)
    how = f"{len(BESIDE)} commands, edits and checkouts at random moments of a run; then another run and `dvc status`"
    sentence = "A run beside other commands and edits ends right or says why not, and records no wrong result."
    with promise(SUBJECT, sentence, how) as tried:
        for beside in BESIDE if rounds(0, 1) else BESIDE[1:2]:  # two runs: tests/flows/engine/test_runs_together.py
            with tried.attempt(f"{beside.name}, seed {SEED}"):
                one_round(project, beside, dice)


def one_round(project: Project, beside: Beside, dice: random.Random) -> None:
    """Runs on new data, does something at a random moment, and judges what is left."""
    project.toy.write({"in": f"{dice.random()}\n", "go": ""})
    run = project.start(*RUN)
    processes = [run]
    with finished(processes):
        wait_until(lambda: bool(stage_processes(project.folder)) or run.poll() is not None, timeout_s=120)
        time.sleep(dice.uniform(0.0, 1.2))
        processes += beside.act(project, dice)
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert not re.search("^Traceback|unexpected error", output, re.MULTILINE), output
        assert process.returncode == 0 or any(words in output for words in SAYS), (process.args, output)
    records_are_true(project, outputs)
    project.write_ignore()
    last = project.start(*RUN)
    with finished([last]):
        output, _ = last.communicate(timeout=240)
    assert last.returncode == 0, (output, outputs)
    for name, content in expected(*project.state()).items():
        assert (project.folder / name).read_bytes() == content, (name, outputs, output)
    records_are_true(project, [*outputs, output])
    status = subprocess.run(["dvc", "status", "--json"], cwd=project.folder, capture_output=True, text=True, check=True)
    assert json.loads(status.stdout) == {}, (status.stdout, outputs)
    assert stage_processes(project.folder) == [] and not has_backups(project.folder)


def records_are_true(project: Project, outputs: list[str]) -> None:
    """Compares each entry of dvc.lock, and of the run cache, with what its stage makes of the recorded inputs."""
    lock = project.folder / "dvc.lock"
    entries = YAML(typ="safe").load(lock.read_text())["stages"] if lock.exists() else {}
    listed = [*entries.items()]
    for path in (project.folder / ".dvc/cache/runs").glob("??/*/*"):
        if path.is_file():
            entry = YAML(typ="safe").load(path.read_text())
            listed.append((entry["cmd"].split()[2], entry))
    for name, entry in listed:
        stage = name.removesuffix(".py")
        digests = {item["path"]: item["md5"] for item in entry["deps"]}
        rest = _cached(project, entry["outs"][0]["md5"])
        if rest is None:
            continue  # removed from the cache since
        mark = "" if digests["stage.py"] == _md5(STAGE.encode()) else "!"
        ending = f"{stage} {entry['params']['params.yaml']['speed']}{mark}\n".encode()
        assert rest.endswith(ending), (stage, entry, rest, outputs)
        rest = rest.removesuffix(ending)
        for each in {"first": ["in"], "left": ["first"], "right": ["first", "other"], "last": ["left", "right"]}[stage]:
            part = rest if each in ("in", "other") else _cached(project, digests[each])
            if part is None:
                break
            assert rest.startswith(part) and _md5(part) == digests[each], (stage, each, entry, rest, outputs)
            rest = rest.removeprefix(part)


def _cached(project: Project, digest: str) -> bytes | None:
    path = project.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    return path.read_bytes() if path.exists() else None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
