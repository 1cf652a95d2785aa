"""How forked stages end: by themselves, at a limit, on request, with a kill; nothing of them stays."""

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
from tests.flows.engine.forking import EXECUTION, GRAPH, LIBRARY, ON_LINUX, OWN, PRELOAD, PROGRAM, processes, say
from tests.flows.engine.toys import stage_processes
from tests.support.root import ROOT

__all__ = ["processes"]  # a fixture

pytestmark = ON_LINUX


@pytest.mark.parametrize(
    ("body", "code", "last"),
    [
        ("import sys; print('error: bad'); sys.exit(3)", 3, "error: bad"),
        ("raise SystemExit('said so')", 1, "said so"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, None),
    ],
)
def test_ends_badly(toy: Toy, processes: CommandRunner, body: str, code: int, last: str | None) -> None:
    """Exit codes and last words are those of the program, however it ended; the next one is not touched by it."""
    toy.write({"bad.py": body})
    with pytest.raises(StageFailed) as failed:
        say(processes, "python -m bad", toy.folder)
    assert failed.value.code == code
    assert (failed.value.lines[-1] if failed.value.lines else None) == last
    assert say(processes, "python -m program out", toy.folder)[0] == "loaded"


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
    """Processes of the program that are still there."""
    numbers = [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]
    assert len(numbers) == 2
    return [number for number in numbers if psutil.pid_exists(number)]


def test_time_limit(toy: Toy, processes: CommandRunner) -> None:
    """A stage that takes too long ends with all that it started, also what left its group and its parent."""
    toy.write({"escapes.py": ESCAPES})
    say(processes, "python -m program out", toy.folder)  # all is imported
    said: list[str] = []
    command = Command("a", ("python -m escapes",), str(toy.folder), {"DVC_STAGE": "a"}, PRELOAD)
    with pytest.raises(StageTimedOut):
        processes.run(command, said.append, timeout_s=5.0)
    assert said[1:] == ["loaded", "loaded"]
    assert escaped(toy.folder) == []


def test_left_behind_on_success(toy: Toy, processes: CommandRunner) -> None:
    """What a stage leaves running when it ends well is ended before its outputs are recorded."""
    toy.write({"escapes.py": ESCAPES})
    assert set(say(processes, "python -m escapes ends", toy.folder)) == {"loaded"}
    assert escaped(toy.folder) == []


def test_ended_while_forks_run(toy: Toy, processes: CommandRunner) -> None:
    """The end of a fork ends nothing of the others; `end_all`, as of Ctrl-C, ends those with all that they started."""
    toy.write({"escapes.py": ESCAPES})
    processes.prepare(PRELOAD, {})
    command = Command("b", ("python -m escapes",), str(toy.folder), {"DVC_STAGE": "b"}, PRELOAD)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(processes.run, command, lambda _: None)
        wait_until(lambda: len(list(toy.folder.glob("pid-*"))) == 2, 60)
        assert say(processes, "python -m program out", toy.folder)[0] == "loaded"
        assert len(escaped(toy.folder)) == 2
        processes.end_all()
        assert isinstance(run.exception(20), Interrupted)
    assert escaped(toy.folder) == []


def test_the_process_itself_is_killed(toy: Toy, processes: CommandRunner) -> None:
    """Forks go with the process that they are forks of; the stage fails, the next one starts the ordinary way."""
    toy.write({"slow.py": "import time; open('began', 'w').close(); time.sleep(60)"})
    processes.prepare(PRELOAD, {})
    command = Command("a", ("python -m slow",), str(toy.folder), {"DVC_STAGE": "a"}, PRELOAD)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(processes.run, command, lambda _: None)
        wait_until((toy.folder / "began").exists, 60)
        server, fork = sorted(stage_processes(toy.folder), key=lambda process: process.ppid() != os.getpid())
        server.kill()
        assert isinstance(run.exception(20), StageFailed)
        wait_until(lambda: not fork.is_running(), 20)
    assert say(processes, "python -m program out", toy.folder)[0] == "not loaded"


def test_ended_while_something_is_imported(toy: Toy) -> None:
    """A run that is ended waits for no import."""
    toy.write({"own.py": "import time; open('began', 'w').close(); time.sleep(120)"})
    processes = CommandRunner(toy.folder)
    processes.prepare(["own"], {})
    command = Command("a", ("python -m own",), str(toy.folder), {}, ("own",))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(processes.run, command, lambda _: None)
        wait_until((toy.folder / "began").exists, 60)
        processes.end_all()
        assert isinstance(run.exception(20), Interrupted)
    assert stage_processes(toy.folder) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_engine_is_ended(toy: Toy, number: signal.Signals) -> None:
    """Forks and the process that they are forks of go with their engine, however it ends."""
    slow = PROGRAM + "import time; time.sleep(60)\n"
    toy.write({"dvc.yaml": GRAPH, "execution.yaml": EXECUTION, "own.py": OWN, "program.py": slow, "in": "one\n"})
    program = (
        "from pathlib import Path; from flows.engine.policy import load_policies; from tests.conftest import run_engine"
    )
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
