"""The end of forked stages: exit, time limit, interrupt, kill; no process is left in any case."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from flows.core.errors import Interrupted, StageFailed, StageTimedOut
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.types import Command
from tests.conftest import Toy, wait_until
from tests.flows.engine.fork_helpers import EXECUTION, GRAPH, LIBRARY, ON_LINUX, OWN, PRELOAD, PROGRAM, output, runner
from tests.flows.engine.helpers import stage_processes
from tests.support.root import ROOT

__all__ = ["runner"]  # a fixture

pytestmark = ON_LINUX


@pytest.mark.parametrize(
    ("body", "code", "last"),
    [
        ("import sys; print('error: bad'); sys.exit(3)", 3, "error: bad"),
        ("raise SystemExit('message')", 1, "message"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, None),
    ],
)
def test_failure(toy: Toy, runner: CommandRunner, body: str, code: int, last: str | None) -> None:
    """For each kind of failure, exit code and last line are those of the program, and the next stage becomes a fork."""
    toy.write({"bad.py": body})
    with pytest.raises(StageFailed) as failed:
        output(runner, "python -m bad", toy.folder)
    assert failed.value.code == code
    assert (failed.value.lines[-1] if failed.value.lines else None) == last
    assert output(runner, "python -m program out", toy.folder)[0] == "loaded"


ESCAPES = f"""
import os, pathlib, sys, time
main = os.getpid()
if os.fork() == 0:  # a child that leaves group, session and parent
    os.setsid()
    if os.fork():
        os._exit(0)
pathlib.Path(f"pid-{{os.getpid()}}").touch()
os.write(1, b"loaded\\n" if "{LIBRARY}" in sys.modules else b"not loaded\\n")  # whole: two write at once
while os.getpid() != main or "ends" not in sys.argv or len(list(pathlib.Path().glob("pid-*"))) < 2:
    time.sleep(0.05)
"""


def escaped(folder: Path) -> list[int]:
    """Returns the processes of the program that still run."""
    numbers = [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]
    assert len(numbers) == 2
    return [number for number in numbers if psutil.pid_exists(number)]


def test_time_limit(toy: Toy, runner: CommandRunner) -> None:
    """At its time limit a stage is terminated with all its processes, even those outside of its group and tree."""
    toy.write({"escapes.py": ESCAPES})
    output(runner, "python -m program out", toy.folder)  # waits for the imports
    command = Command("a", ("python -m escapes",), str(toy.folder), {"DVC_STAGE": "a"}, PRELOAD)
    for timeout_s in (1.0, 6.0, 60.0):  # on a busy machine its processes do not start within seconds
        lines: list[str] = []
        for path in toy.folder.glob("pid-*"):
            path.unlink()
        with pytest.raises(StageTimedOut):
            runner.run(command, lines.append, timeout_s=timeout_s)
        if lines[1:] == ["loaded", "loaded"]:
            break
    assert lines[1:] == ["loaded", "loaded"]
    assert escaped(toy.folder) == []


def test_background_processes_after_success(toy: Toy, runner: CommandRunner) -> None:
    """Background processes of a stage that succeeds are terminated before its outputs are recorded."""
    toy.write({"escapes.py": ESCAPES})
    assert set(output(runner, "python -m escapes ends", toy.folder)) == {"loaded"}
    assert escaped(toy.folder) == []


def test_terminate_while_forks_run(toy: Toy, runner: CommandRunner) -> None:
    """The end of one fork leaves the others running; `terminate` ends them with all processes that they started."""
    toy.write({"escapes.py": ESCAPES})
    runner.preload(PRELOAD, {})
    command = Command("b", ("python -m escapes",), str(toy.folder), {"DVC_STAGE": "b"}, PRELOAD)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(runner.run, command, lambda _: None)
        wait_until(lambda: len(list(toy.folder.glob("pid-*"))) == 2, 60)
        assert output(runner, "python -m program out", toy.folder)[0] == "loaded"
        assert len(escaped(toy.folder)) == 2
        runner.terminate()
        assert isinstance(run.exception(240), Interrupted)
    assert escaped(toy.folder) == []


def test_fork_server_is_killed(toy: Toy, runner: CommandRunner) -> None:
    """Forks die with their fork server; the stage fails, and the next one starts without a fork."""
    toy.write({"slow.py": "import time; open('started', 'w').close(); time.sleep(900)"})
    runner.preload(PRELOAD, {})
    command = Command("a", ("python -m slow",), str(toy.folder), {"DVC_STAGE": "a"}, PRELOAD)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(runner.run, command, lambda _: None)
        wait_until((toy.folder / "started").exists, 60)
        server, fork = sorted(stage_processes(toy.folder), key=lambda process: process.ppid() != os.getpid())
        server.kill()
        assert isinstance(run.exception(240), StageFailed)
        wait_until(lambda: not fork.is_running(), 60)
    assert output(runner, "python -m program out", toy.folder)[0] == "not loaded"


def test_terminate_during_imports(toy: Toy) -> None:
    """An interrupted run does not wait for imports."""
    toy.write({"own.py": "import time; open('started', 'w').close(); time.sleep(900)"})
    runner = CommandRunner(toy.folder)
    runner.preload(["own"], {})
    command = Command("a", ("python -m own",), str(toy.folder), {}, ("own",))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(runner.run, command, lambda _: None)
        wait_until((toy.folder / "started").exists, 60)
        runner.terminate()
        assert isinstance(run.exception(240), Interrupted)
    assert stage_processes(toy.folder) == []


@pytest.mark.cases(1)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_engine_is_killed(toy: Toy, number: signal.Signals) -> None:
    """Forks and their fork server die with the engine, whichever signal ends it."""
    slow = PROGRAM + "import time; time.sleep(900)\n"
    toy.write({"dvc.yaml": GRAPH, "execution.yaml": EXECUTION, "own.py": OWN, "program.py": slow, "in": "one\n"})
    command = [sys.executable, "-m", "tests.support.engine_alone", "2"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as engine:
        try:
            wait_until(lambda: (toy.folder / "a").exists() and (toy.folder / "b").exists(), 60)
            assert len(stage_processes(toy.folder)) == 3  # two forks and their fork server
            engine.send_signal(number)
            engine.wait(240)
            wait_until(lambda: stage_processes(toy.folder) == [], 60)
        finally:
            engine.kill()


def test_no_file_descriptor_is_left(tmp_path: Path) -> None:
    """Stages are ended also where no file descriptor is left to list their processes."""
    code = (
        "import resource, subprocess\nfrom flows.engine.processes.process_trees import terminate_trees\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nterminate_trees([child.pid])\nprint(child.wait())"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout == "-9\n", done.stderr
