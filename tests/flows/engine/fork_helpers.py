"""Helpers for the tests of forked stages: a program that writes how it was started, and a command runner."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.engine.processes.command_runner import CommandRunner
from flows.engine.types import Command
from tests.conftest import Toy
from tests.flows.engine.helpers import stage_processes

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stages are forked on Linux only")
LIBRARY = "wsgiref.util"  # a standard module that no other module imports
PRELOAD = ("own", "own:prepare")  # a module of the project, and a function in it
OWN = f"""
VALUE = 1

def prepare():
    import {LIBRARY}
"""
PROGRAM = f"""
import json, os, sys
loaded = "{LIBRARY}" in sys.modules
import own
facts = {{
    "name": __name__, "argv": sys.argv[1:], "path": sys.path[0], "folder": os.getcwd(), "own": own.VALUE,
    "stage": os.environ.get("DVC_STAGE"), "knob": os.environ.get("KNOB"), "leader": os.getsid(0) == os.getpid(),
}}
with open(sys.argv[1], "w") as file:
    json.dump(facts, file)
print("loaded" if loaded else "not loaded", flush=True)
print("to standard error", file=sys.stderr)
"""
GRAPH = """
stages:
  first: {cmd: cat in > first, deps: [in], outs: [first]}
  each:
    foreach: [a, b]
    do: {cmd: "python -m program ${item}", deps: [first, program.py], outs: ["${item}"]}
"""
EXECUTION = 'stages: {"each@*": {preload: [own, "own:prepare"]}}\n'


@pytest.fixture
def runner(toy: Toy) -> Iterator[CommandRunner]:
    """A command runner in a project with the program; fails if a process runs after the test."""
    toy.write({"own.py": OWN, "program.py": PROGRAM})
    command_runner = CommandRunner(toy.folder)
    yield command_runner
    command_runner.close()
    assert stage_processes(toy.folder) == []


def output(runner: CommandRunner, line: str, folder: Path, **environment: str) -> list[str]:
    """Runs a command whose modules are preloaded, and returns its output lines."""
    lines: list[str] = []
    runner.preload(PRELOAD, environment)
    command = Command("a", (line,), str(folder), {"DVC_STAGE": "a", **environment}, PRELOAD)
    runner.run(command, lines.append, timeout_s=240)
    return lines[1:]
