"""Stages as forks of a process that has imported what they want: as from a shell, but for the import."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.display import Silence
from flows.errors import PolicyInvalid, StageFailed, StageTimedOut
from flows.model import Command, Stage
from flows.policy import Policies, StagePolicy, load_policies
from flows.preloads import Preloads
from flows.processes import Processes
from tests.conftest import ROOT, Toy, run_engine, wait_until
from tests.engine.toys import stage_processes, status, succeeded

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stages are forked on Linux alone")

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
def processes(toy: Toy) -> Iterator[Processes]:
    """Commands in a toy with a program; at the end nothing is left of them."""
    toy.write({"own.py": OWN, "program.py": PROGRAM})
    found = Processes(toy.folder)
    yield found
    found.close()
    assert stage_processes(toy.folder) == []


def say(processes: Processes, line: str, folder: Path, **environment: str) -> list[str]:
    """What a command says whose modules were imported ahead."""
    said: list[str] = []
    processes.prepare(PRELOAD, environment)
    command = Command("a", (line,), str(folder), {"DVC_STAGE": "a", **environment}, PRELOAD)
    processes.run(command, said.append, timeout_s=60)
    return said[1:]


def test_as_from_a_shell(toy: Toy, processes: Processes) -> None:
    """Arguments, folder, environment and the order of lines are the same; what was imported is there."""
    (toy.folder / "deep").mkdir()
    for name in ("own.py", "program.py"):
        (toy.folder / "deep" / name).write_text(toy.read(name).replace("VALUE = 1", "VALUE = 2"))
    facts: list[Mapping[str, Any]] = []
    for folder in (toy.folder, toy.folder / "deep"):
        forked = say(processes, "python -m program out --x=1 ./y z", folder, KNOB="high")
        facts.append(json.loads((folder / "out").read_text()))
        by_shell = say(processes, "python -m program 'out' --x=1 ./y z", folder, KNOB="high")
        assert (forked, by_shell) == (["loaded", "to standard error"], ["not loaded", "to standard error"])
        assert json.loads((folder / "out").read_text()) == facts[-1]
    assert [found["own"] for found in facts] == [1, 2]
    assert facts[0] == {
        "name": "__main__",
        "argv": ["out", "--x=1", "./y", "z"],
        "path": str(toy.folder),
        "folder": str(toy.folder),
        "own": 1,
        "stage": "a",
        "knob": "high",
        "leader": True,
    }


@pytest.mark.parametrize(
    "line", ["python -m program out > log; cat log", "KNOB=low python -m program out", "python program.py out"]
)
def test_what_needs_a_shell(toy: Toy, processes: Processes, line: str) -> None:
    """All but `python -m MODULE ARGUMENT...` is started as it always is."""
    assert say(processes, line, toy.folder)[0] in ("not loaded", "to standard error")


@pytest.mark.parametrize(
    ("body", "code", "last"),
    [
        ("import sys; print('error: bad'); sys.exit(3)", 3, "error: bad"),
        ("raise SystemExit('said so')", 1, "said so"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, None),
    ],
)
def test_ends_badly(toy: Toy, processes: Processes, body: str, code: int, last: str | None) -> None:
    """Exit codes and last words are those of the program, however it ended; the next one is not touched by it."""
    toy.write({"bad.py": body})
    with pytest.raises(StageFailed) as failed:
        say(processes, "python -m bad", toy.folder)
    assert failed.value.code == code
    assert (failed.value.lines[-1] if failed.value.lines else None) == last
    assert say(processes, "python -m program out", toy.folder)[0] == "loaded"


def test_time_limit(toy: Toy, processes: Processes) -> None:
    """A stage that takes too long ends with all that it started, also what left its group."""
    toy.write({"slow.py": "import subprocess; subprocess.run(['setsid', 'sleep', '60'])"})
    processes.prepare(PRELOAD, {})
    started = time.monotonic()
    with pytest.raises(StageTimedOut):
        command = Command("a", ("python -m slow",), str(toy.folder), {"DVC_STAGE": "a"}, PRELOAD)
        processes.run(command, lambda _: None, timeout_s=2.0)
    assert time.monotonic() - started < 20
    assert [process for process in stage_processes(toy.folder) if "slow" in process.cmdline()] == []


def test_changed_code_is_loaded_anew(toy: Toy, processes: Processes) -> None:
    """When a file changed that was read to import things, the stage starts the ordinary way, with the new code."""
    assert say(processes, "python -m program out", toy.folder)[0] == "loaded"
    toy.write({"own.py": OWN.replace("VALUE = 1", "VALUE = 22")})
    for _ in range(2):
        assert say(processes, "python -m program out", toy.folder)[0] == "not loaded"
        assert json.loads(toy.read("out"))["own"] == 22


def test_cannot_be_imported(toy: Toy) -> None:
    """A module that is not there is said once; stages start without it."""
    notes: list[str] = []
    processes = Processes(toy.folder, notes.append)
    toy.write({"own.py": OWN, "program.py": PROGRAM})
    for name in ("a", "b"):
        processes.prepare(["wsgirref"], {})
        processes.run(Command(name, (f"python -m program {name}",), str(toy.folder), {}, ("wsgirref",)), notes.append)
    processes.close()
    said = [note for note in notes if note.startswith("preload")]
    assert said == ["preload: wsgirref: ModuleNotFoundError: No module named 'wsgirref'; stages start without it"]
    assert toy.read("a") == toy.read("b").replace('"b"', '"a"')


class Ears(Silence):
    """Keeps what stages say."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, stage: str, text: str) -> None:
        """Hear a line of a stage."""
        self.lines.append(text)


@pytest.mark.usefixtures("no_stray")
def test_a_whole_run(toy: Toy) -> None:
    """Stages of a graph are forks, and DVC finds all as it should be."""
    toy.write({"dvc.yaml": GRAPH, "execution.yaml": EXECUTION, "own.py": OWN, "program.py": PROGRAM, "in": "one\n"})
    ears = Ears()
    succeeded(run_engine(jobs=2, policies=load_policies(Path()), display=ears))
    assert ears.lines.count("loaded") == 2
    assert [json.loads(toy.read(name))["stage"] for name in "ab"] == ["each@a", "each@b"]
    assert status() == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_engine_is_ended(toy: Toy, number: signal.Signals) -> None:
    """Forks and the process that they are forks of go with their engine, however it ends."""
    slow = PROGRAM + "import time; time.sleep(60)\n"
    toy.write({"dvc.yaml": GRAPH, "execution.yaml": EXECUTION, "own.py": OWN, "program.py": slow, "in": "one\n"})
    program = "from pathlib import Path; from flows.policy import load_policies; from tests.conftest import run_engine"
    command = [sys.executable, "-c", f"{program}; run_engine(jobs=2, policies=load_policies(Path()))"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as engine:
        try:
            wait_until(lambda: (toy.folder / "a").exists() and (toy.folder / "b").exists(), 60)
            assert len(stage_processes(toy.folder)) == 3  # two forks, and what they are forks of
            engine.send_signal(number)
            engine.wait(60)
            wait_until(lambda: stage_processes(toy.folder) == [], 30)
        finally:
            engine.kill()


def test_only_for_others() -> None:
    """What only a stage that starts right now wants is not imported ahead, nor what runs in a pool."""
    want = {name: StagePolicy(preload=(name[0],)) for name in ("a1", "a2", "b", "c")}
    want["c"] = want["c"].model_copy(update={"pool": "gpu"})
    stages = [Stage("first"), *(Stage(name, ("first",)) for name in ("a1", "a2", "c")), Stage("b", ("a1",))]
    prepared: list[StagePolicy] = []
    preloads = Preloads(stages, Policies(stages=want), prepared.append)

    def ahead_of(name: str) -> list[str]:
        prepared.clear()
        preloads.starts(name)
        return [policy.preload[0] for policy in prepared]

    assert ahead_of("first") == ["a", "a", "b"]
    preloads.ended("first")
    assert ahead_of("a1") == ["a", "b"]
    preloads.ended("a1")
    assert ahead_of("a2") == []
    assert ahead_of("b") == []


def test_a_bad_name_is_refused(toy: Toy) -> None:
    """A preload that can be no module is said as a mistake of execution.yaml."""
    toy.write({"execution.yaml": "stages: {a: {preload: [os; rm]}}\n"})
    with pytest.raises(PolicyInvalid, match="got 'os; rm', expected a module, or module:function"):
        load_policies(Path())
