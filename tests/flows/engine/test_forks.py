"""Stages as forks of a process that has imported their modules: they behave as if the shell had started them."""

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
from tests.flows.engine.fork_helpers import EXECUTION, GRAPH, LIBRARY, ON_LINUX, OWN, PROGRAM, output, runner
from tests.flows.engine.helpers import RecordingDisplay, status, succeeded

__all__ = ["runner"]  # a fixture

pytestmark = ON_LINUX


def test_same_as_shell(toy: Toy, runner: CommandRunner) -> None:
    """Arguments, folder, environment and order of lines are as from a shell, and the modules are imported already."""
    (toy.folder / "deep").mkdir()
    for name in ("own.py", "program.py"):
        (toy.folder / "deep" / name).write_text(toy.read(name).replace("VALUE = 1", "VALUE = 2"))
    facts: list[Mapping[str, Any]] = []
    for folder in (toy.folder, toy.folder / "deep"):
        forked = output(runner, "python -m program out --x=1 ./y z", folder, KNOB="high")
        facts.append(json.loads((folder / "out").read_text()))
        by_shell = output(runner, "python -m program 'out' --x=1 ./y z", folder, KNOB="high")
        assert (forked, by_shell) == (["loaded", "to standard error"], ["not loaded", "to standard error"])
        assert json.loads((folder / "out").read_text()) == {**facts[-1], "leader": ANY}  # depends on the shell
    assert [fact["own"] for fact in facts] == [1, 2]
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
def test_shell_commands(toy: Toy, runner: CommandRunner, line: str) -> None:
    """Commands other than `python -m MODULE ARGUMENT...` do not become forks."""
    assert "not loaded" in output(runner, line, toy.folder)


def test_random_numbers_differ(toy: Toy, runner: CommandRunner) -> None:
    """Unseeded random numbers differ between forks."""
    toy.write({"draws.py": "import numpy, random; print(numpy.random.rand(), random.random())"})
    runner.preload(["numpy"], {})
    lines: list[str] = []
    for _ in range(2):
        runner.run(Command("a", ("python -m draws",), str(toy.folder), {}, ("numpy",)), lines.append, 60)
    assert all(one != other for one, other in zip(lines[1].split(), lines[3].split(), strict=True))


def test_changed_code(toy: Toy, runner: CommandRunner) -> None:
    """If a file of the imported code has changed, the stage starts without a fork, with the new code."""
    assert output(runner, "python -m program out", toy.folder)[0] == "loaded"
    toy.write({"own.py": OWN.replace("VALUE = 1", "VALUE = 22")})
    for _ in range(2):
        assert output(runner, "python -m program out", toy.folder)[0] == "not loaded"
        assert json.loads(toy.read("out"))["own"] == 22


@pytest.mark.parametrize(
    ("module", "timeout_s", "failure"),
    [
        ("wsgirref", 240.0, "ModuleNotFoundError: No module named 'wsgirref'"),
        ("onnxruntime", 240.0, "onnxruntime hangs in a forked process"),
        ("slow", 0.3, "not imported after 0.3 s"),
    ],
)
def test_import_fails(toy: Toy, monkeypatch: pytest.MonkeyPatch, module: str, timeout_s: float, failure: str) -> None:
    """A module that is missing, hangs in a fork or loads too slowly is logged once, and stages start without it."""
    monkeypatch.setattr("flows.engine.processes.fork_client.IMPORT_TIMEOUT_S", timeout_s)
    toy.write({"own.py": OWN, "program.py": PROGRAM, "slow.py": "import time; time.sleep(120)"})
    messages: list[str] = []
    runner = CommandRunner(toy.folder, messages.append)
    for name in ("a", "b"):
        runner.preload([module], {})
        command = Command(name, (f"python -m program {name}",), str(toy.folder), {}, (module,))
        runner.run(command, lambda _: None, timeout_s=240)
    runner.close()
    assert messages == [f"preload: {module}: {failure}; stages start without it"]
    assert toy.read("a") == toy.read("b").replace('"b"', '"a"')


def test_package_without_init(toy: Toy, runner: CommandRunner) -> None:
    """A module of a package without `__init__.py` is imported anew in a fork, like all modules of the project."""
    use = "import pickle, sys, ns.shapes; from ns import shapes; import program\n"
    use += "assert shapes is sys.modules['ns.shapes'] is ns.shapes; pickle.dumps(shapes.Shape())"
    toy.write({"ns/shapes.py": f"import {LIBRARY}\nclass Shape: pass\n", "ns/use.py": use})
    lines: list[str] = []
    runner.preload(["ns.shapes"], {})
    runner.run(Command("a", ("python -m ns.use out",), str(toy.folder), {}, ("ns.shapes",)), lines.append, 60)
    assert lines[1:] == ["loaded", "to standard error"]


@pytest.mark.parametrize(
    "once",
    [
        "import multiprocessing as m; m.set_start_method('spawn')",
        "import sys; assert not hasattr(sys, 'registered'); sys.registered = 1",
    ],
)
def test_module_that_registers_something(toy: Toy, once: str) -> None:
    """If a module of the project can be imported only once, the run says so, and stages start without a fork."""
    toy.write({"own.py": OWN, "program.py": PROGRAM, "once.py": once, "use.py": "import once, program"})
    messages: list[str] = []
    lines: list[str] = []
    runner = CommandRunner(toy.folder, messages.append)
    runner.preload(["once"], {})
    runner.run(Command("a", ("python -m use out",), str(toy.folder), {}, ("once",)), lines.append, 60)
    runner.close()
    assert lines[1:] == ["not loaded", "to standard error"]
    assert len(messages) == 1
    assert messages[0].startswith("preload: once: once cannot be imported twice: ")


@pytest.mark.usefixtures("no_orphans")
def test_a_whole_run(toy: Toy) -> None:
    """Stages of a graph become forks, and `dvc status` is clean afterwards."""
    toy.write({"dvc.yaml": GRAPH, "execution.yaml": EXECUTION, "own.py": OWN, "program.py": PROGRAM, "in": "one\n"})
    display = RecordingDisplay()
    succeeded(run_engine(jobs=2, policies=load_policies(Path()), display=display))
    assert display.lines.count("loaded") == 2
    assert [json.loads(toy.read(name))["stage"] for name in "ab"] == ["each@a", "each@b"]
    assert status() == {}


def test_preloads_only_for_later_stages() -> None:
    """Modules that only a starting stage needs are not preloaded, nor those of stages in a pool."""
    policies = {name: StagePolicy(preload=(name[0],)) for name in ("a1", "a2", "b", "c")}
    policies["c"] = policies["c"].model_copy(update={"pool": "gpu"})
    stages = [Stage("first"), *(Stage(name, ("first",)) for name in ("a1", "a2", "c")), Stage("b", ("a1",))]
    requested: list[StagePolicy] = []
    scheduler = PreloadScheduler(stages, {"first": StagePolicy(), **policies}, requested.append)

    def preloads_at_start(name: str) -> list[str]:
        requested.clear()
        scheduler.start(name)
        return [policy.preload[0] for policy in requested]

    assert preloads_at_start("first") == ["a", "a", "b"]
    scheduler.finish("first")
    assert preloads_at_start("a1") == ["a", "b"]
    scheduler.finish("a1")
    assert preloads_at_start("a2") == []
    assert preloads_at_start("b") == []


def test_invalid_preload(toy: Toy) -> None:
    """A preload that cannot be a module is reported as a mistake in execution.yaml."""
    toy.write({"execution.yaml": "stages: {a: {preload: [os; rm]}}\n"})
    with pytest.raises(PolicyInvalid, match="got 'os; rm', expected a module, or module:function"):
        load_policies(Path())
    toy.write({"execution.yaml": f"stages: {{a: {{preload: [{'x' * 5000}-]}}}}"})
    with pytest.raises(PolicyInvalid, match=r"got 'x{100,295}\.\.\.x{100,}-', expected a module, or module:function$"):
        load_policies(Path())
