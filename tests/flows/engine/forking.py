"""What the tests of forked stages share: a program that says how it was started, and commands in a toy."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.engine.processes.command_runner import CommandRunner
from flows.engine.types import Command
from tests.conftest import Toy
from tests.flows.engine.toys import stage_processes

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stages are forked on Linux alone")
LIBRARY = "wsgiref.util"  # one of Python's that nobody else imports
PRELOAD = ("own", "own:prepare")  # a project's module, and a function of it
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
def processes(toy: Toy) -> Iterator[CommandRunner]:
    """Commands in a toy with a program; at the end nothing is left of them."""
    toy.write({"own.py": OWN, "program.py": PROGRAM})
    found = CommandRunner(toy.folder)
    yield found
    found.close()
    assert stage_processes(toy.folder) == []


def say(processes: CommandRunner, line: str, folder: Path, **environment: str) -> list[str]:
    """What a command says whose modules were imported ahead."""
    said: list[str] = []
    processes.prepare(PRELOAD, environment)
    command = Command("a", (line,), str(folder), {"DVC_STAGE": "a", **environment}, PRELOAD)
    processes.run(command, said.append, timeout_s=60)
    return said[1:]
