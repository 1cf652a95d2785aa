"""Runs `inkflow` commands in forks of one process, and kills them at a step or after a while.

A step is what the process changes: a file that it opens to write, renames, removes or makes, a program that it starts.
The fork is killed before the step, its children go on; after a while, the children are killed with it.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flows.cli.main import console
from tests.support.root import ROOT
from tests.torture.support.forked import wait

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "subprocess.Popen"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PRELOADED = ("dvc.repo", "dvc.api", "gto.registry", "pygit2", "flows.registry.promotion", "flows.cli.models.registry")
KILLED = -9
HANGS = 1000  # the exit code of a command that did not end in time
LIMIT_S = 240.0  # of a command, on a busy machine: what takes longer hangs


@dataclass(frozen=True)
class Ended:
    """How a command ended, what it printed, and how many steps it made.

    The exit code is KILLED if it was killed, HANGS if it did not end in time.
    """

    code: int
    output: str
    steps: int
    seconds: float

    @property
    def last_line(self) -> str:
        """The last line that the command printed; empty without one."""
        return (self.output.strip().splitlines() or [""])[-1]

    @property
    def is_sentence(self) -> bool:
        """Whether the command told the reason why it failed, and no traceback."""
        return self.last_line.startswith("error: ") and "Traceback" not in self.output


class Commands:
    """Runs commands in forks of a process that has imported what they need."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, folder: Path, *arguments: str, step: int | None = None, after_s: float | None = None) -> Ended:
        """Runs `inkflow ARGUMENTS` in `folder`; kills it before a step, or after a while."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"folder": str(folder), "arguments": arguments, "step": step, "after_s": after_s}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


@contextmanager
def commands() -> Iterator[Commands]:
    """Yields the process that runs commands."""
    program = [sys.executable, "-m", "tests.torture.support.killed_commands"]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        program, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Commands(process)
        assert process.stdin is not None
        process.stdin.close()


def serve() -> None:
    """Carries out the orders on standard input until it ends."""
    for name in PRELOADED:
        __import__(name)
    for line in sys.stdin:
        print(json.dumps(_carry_out(json.loads(line))), flush=True)


def _carry_out(order: dict[str, Any]) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as steps:
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _become(order, output.name, steps.name)
        if order["after_s"] is not None:
            _kill_after(pid, order["after_s"])
        code = wait(pid, LIMIT_S)
        seconds = time.monotonic() - started
        ended = {"code": HANGS if code is None else code, "output": output.read(), "seconds": seconds}
        return ended | {"steps": len(steps.read())}


def _become(order: dict[str, Any], output: str, steps: str) -> None:
    """Turns this fork into the command."""
    os.setsid()
    streams = os.open(output, os.O_WRONLY | os.O_APPEND)
    counter = os.open(steps, os.O_WRONLY | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((null, streams, streams)):
        os.dup2(stream, number)
    os.chdir(order["folder"])
    sys.argv = ["inkflow", *order["arguments"]]
    made = 0

    def count(event: str, arguments: Sequence[Any]) -> None:
        nonlocal made
        if event in STEPS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
            made += 1
            if made == order["step"]:
                os.kill(os.getpid(), 9)
            os.write(counter, b".")

    sys.addaudithook(count)
    try:
        console()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - as Python itself at a process's end
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    os._exit(code)


def _kill_after(pid: int, seconds: float) -> None:
    """Kills a process and all below it after a while, if it still runs."""
    watched = os.pidfd_open(pid)
    ended, _, _ = select.select([watched], [], [], seconds)
    os.close(watched)
    if not ended:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                one.kill()


if __name__ == "__main__":
    serve()
