"""Stages as forks of a process that has imported what they want: as from a shell, but for the import."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from flows.core.errors import PolicyInvalid
from flows.engine.policy import StagePolicy, load_policies
from flows.engine.preload_scheduler import PreloadScheduler
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.types import Command, Stage
from tests.conftest import Toy, run_engine
from tests.flows.engine.forking import EXECUTION, GRAPH, ON_LINUX, OWN, PROGRAM, processes, say
from tests.flows.engine.toys import Heard, status, succeeded

__all__ = ["processes"]  # a fixture

pytestmark = ON_LINUX


def test_as_from_a_shell(toy: Toy, processes: CommandRunner) -> None:
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
        assert json.loads((folder / "out").read_text()) == {**facts[-1], "leader": ANY}  # a shell may stay it
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
def test_what_needs_a_shell(toy: Toy, processes: CommandRunner, line: str) -> None:
    """All but `python -m MODULE ARGUMENT...` is started as it always is."""
    assert "not loaded" in say(processes, line, toy.folder)


def test_random_numbers_differ(toy: Toy, processes: CommandRunner) -> None:
    """Who draws without a seed gets other numbers in each fork."""
    toy.write({"draws.py": "import numpy, random; print(numpy.random.rand(), random.random())"})
    processes.prepare(["numpy"], {})
    said: list[str] = []
    for _ in range(2):
        processes.run(Command("a", ("python -m draws",), str(toy.folder), {}, ("numpy",)), said.append, 60)
    assert all(one != other for one, other in zip(said[1].split(), said[3].split(), strict=True))


def test_changed_code_is_loaded_anew(toy: Toy, processes: CommandRunner) -> None:
    """When a file changed that was read to import things, the stage starts the ordinary way, with the new code."""
    assert say(processes, "python -m program out", toy.folder)[0] == "loaded"
    toy.write({"own.py": OWN.replace("VALUE = 1", "VALUE = 22")})
    for _ in range(2):
        assert say(processes, "python -m program out", toy.folder)[0] == "not loaded"
        assert json.loads(toy.read("out"))["own"] == 22


@pytest.mark.parametrize(
    ("module", "wait_s", "fault"),
    [
        ("wsgirref", 60.0, "ModuleNotFoundError: No module named 'wsgirref'"),
        ("onnxruntime", 60.0, "onnxruntime would wait for ever in a fork"),
        ("slow", 1.0, "not imported after 1 s"),
    ],
)
def test_cannot_be_imported(toy: Toy, monkeypatch: pytest.MonkeyPatch, module: str, wait_s: float, fault: str) -> None:
    """A module that is not there, that hangs in a fork or takes too long is said once; stages start without it."""
    monkeypatch.setattr("flows.engine.processes.fork_client.IMPORT_S", wait_s)
    toy.write({"own.py": OWN, "program.py": PROGRAM, "slow.py": "import time; time.sleep(120)"})
    notes: list[str] = []
    processes = CommandRunner(toy.folder, notes.append)
    for name in ("a", "b"):
        processes.prepare([module], {})
        command = Command(name, (f"python -m program {name}",), str(toy.folder), {}, (module,))
        processes.run(command, lambda _: None, timeout_s=60)
    processes.close()
    assert notes == [f"preload: {module}: {fault}; stages start without it"]
    assert toy.read("a") == toy.read("b").replace('"b"', '"a"')


@pytest.mark.usefixtures("no_stray")
def test_a_whole_run(toy: Toy) -> None:
    """Stages of a graph are forks, and DVC finds all as it should be."""
    toy.write({"dvc.yaml": GRAPH, "execution.yaml": EXECUTION, "own.py": OWN, "program.py": PROGRAM, "in": "one\n"})
    heard = Heard()
    succeeded(run_engine(jobs=2, policies=load_policies(Path()), display=heard))
    assert heard.lines.count("loaded") == 2
    assert [json.loads(toy.read(name))["stage"] for name in "ab"] == ["each@a", "each@b"]
    assert status() == {}


def test_only_for_others() -> None:
    """What only a stage that starts right now wants is not imported ahead, nor what runs in a pool."""
    want = {name: StagePolicy(preload=(name[0],)) for name in ("a1", "a2", "b", "c")}
    want["c"] = want["c"].model_copy(update={"pool": "gpu"})
    stages = [Stage("first"), *(Stage(name, ("first",)) for name in ("a1", "a2", "c")), Stage("b", ("a1",))]
    prepared: list[StagePolicy] = []
    preloads = PreloadScheduler(stages, {"first": StagePolicy(), **want}, prepared.append)

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
