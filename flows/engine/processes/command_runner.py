"""Runs the commands of stages as processes, reads their output, and terminates them with all that they started."""

import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TypeAlias

import psutil

from flows.core.errors import Interrupted, StageFailed, StageTimedOut
from flows.core.redaction import mask, masked_lines
from flows.engine.processes.fork_client import Fork, ForkClient
from flows.engine.processes.process_trees import GRACE_S, terminate_trees
from flows.engine.types import Command

TAIL_LINES = 50  # of a stage's output, for the message when it fails
MARK = "INKFLOW_ENGINE"  # environment variable of all processes of an engine, by which they are found after its death
SHELL_OPTIONS = {"bash": ["--noprofile", "--norc"], "zsh": ["--no-rcs"]}  # the same as DVC's
Process: TypeAlias = subprocess.Popen[str] | Fork


class CommandRunner:
    """Runs the commands of one engine; called from many threads.

    Attributes:
        stop_event: once it is set, no command starts.
    """

    def __init__(self, root: Path, log: Callable[[str], None] = print) -> None:
        """Creates the runner.

        Args:
            root: folder of the project.
            log: called with a message if modules cannot be preloaded.
        """
        self._root, self._forks = root, ForkClient(root, log)
        self._running: dict[str, Process] = {}
        self._timed_out: set[str] = set()
        self.stop_event = threading.Event()

    def run(self, command: Command, on_line: Callable[[str], None], timeout_s: float | None = None) -> None:
        """Runs the lines of `command` one after another, and calls `on_line` with each line of their output.

        Raises:
            StageFailed: a line ended with an exit code other than 0; the following lines did not run.
            StageTimedOut: the command took longer than `timeout_s`, and was terminated.
            Interrupted: `terminate` was called.
        """
        timer = threading.Timer(timeout_s, self._time_out, [command.stage]) if timeout_s else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            for line in command.lines:
                on_line(mask(f"> {line}"))
                code, tail = self._run_line(line, command, on_line)
                self._raise_for_exit(command.stage, code, tail, timeout_s)
        finally:
            if timer:
                timer.cancel()
            self._timed_out.discard(command.stage)

    def preload(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts to import `modules` for commands with this environment; does not wait for the end of the imports."""
        self._forks.preload(modules, self._environment() | dict(environment))

    def terminate(self) -> None:
        """Terminates all running commands with all processes that they started; no command starts afterwards."""
        self.stop_event.set()
        terminate_trees([process.pid for process in list(self._running.values())])
        self._forks.close()

    def close(self) -> None:
        """Terminates the processes that have preloaded modules; may be called only when no command runs."""
        self._forks.close()

    def _run_line(self, line: str, command: Command, on_line: Callable[[str], None]) -> tuple[int, list[str]]:
        """Runs one line of `command`, and returns its exit code and the last lines of its output."""
        if self.stop_event.is_set():
            raise Interrupted(command.stage)
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        started = self._start(line, command)
        if started is None:
            return 0, []
        with started as process:
            self._running[command.stage] = process
            if not self._may_run(command.stage):  # stopped while the process started
                terminate_trees([process.pid])
            reader = threading.Thread(target=_read_output, args=(process, tail, on_line), daemon=True)
            reader.start()
            try:
                code = process.wait()
                terminate_trees([process.pid])  # background processes would write to outputs that are being recorded
                reader.join(GRACE_S)
                if code or reader.is_alive():  # a process outside of group and tree may hold the pipe open
                    terminate_trees(_stage_pids(mark(self._root), command.stage))
                    reader.join(GRACE_S)
                return code, list(tail)
            finally:
                del self._running[command.stage]

    def _start(self, line: str, command: Command) -> Process | None:
        """Starts one line of `command`, as a fork if possible; returns None if it may not run any more."""
        environment = self._environment() | dict(command.environment)
        fork = self._forks.start(
            line, command.preload, environment, command.folder, lambda: self._may_run(command.stage)
        )
        if fork or not self._may_run(command.stage):  # the wait for the imports may have been long
            return fork
        return subprocess.Popen(
            die_with_parent([*_shell(), "-c", line]),
            cwd=command.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C reaches the engine alone, which terminates the stages in order
            text=True,
            errors="replace",
        )

    def _may_run(self, stage: str) -> bool:
        return not self.stop_event.is_set() and stage not in self._timed_out

    def _raise_for_exit(self, stage: str, code: int, tail: list[str], timeout_s: float | None) -> None:
        if self.stop_event.is_set():
            raise Interrupted(stage)
        if stage in self._timed_out:
            raise StageTimedOut(stage, timeout_s or 0.0)
        if code:
            raise StageFailed(stage, code, tail)

    def _time_out(self, stage: str) -> None:
        self._timed_out.add(stage)
        process = self._running.get(stage)
        if process:
            terminate_trees([process.pid])

    def _environment(self) -> dict[str, str]:
        """Returns the environment of this process, in which `python` is its own interpreter."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", MARK: mark(self._root)}


def terminate_orphans(root: Path) -> list[str]:
    """Terminates the processes of dead engines in the project at `root`, and returns the names of their stages."""
    orphans = {pid: stage for pid, value, stage in _marked_processes() if _is_orphan(value, root)}
    terminate_trees(list(orphans))
    return sorted(set(filter(None, orphans.values())))


def die_with_parent(command: Sequence[str]) -> list[str]:
    """Returns `command` so that the system kills it when this process dies; unchanged without util-linux's setpriv."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def mark(root: Path) -> str:
    """Returns the value of MARK: `<pid>@<start time>:<project>`; the start time tells processes with one id apart."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}:{root}"


def _marked_processes() -> Iterator[tuple[int, str, str]]:
    """Yields process id, value of MARK and stage of each process of an engine."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):  # it has ended, or belongs to another user
            continue
        if MARK in environment:
            yield process.pid, environment[MARK], environment.get("DVC_STAGE", "")


def _stage_pids(engine_mark: str, stage: str) -> list[int]:
    """Returns the processes of `stage`, including those that have left its process group and tree."""
    return [pid for pid, value, name in _marked_processes() if value == engine_mark and name == stage]


def _is_orphan(engine_mark: str, root: Path) -> bool:
    """True if the engine with this mark ran in the project at `root` and is dead."""
    engine, _, project = engine_mark.partition(":")
    if project != str(root):
        return False
    pid, _, created = engine.partition("@")
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != created
    except (psutil.Error, ValueError):
        return True


def _read_output(process: Process, tail: deque[str], on_line: Callable[[str], None]) -> None:
    assert isinstance(process.stdout, TextIOWrapper)
    process.stdout.reconfigure(newline="")  # keeps carriage returns, which `masked_lines` needs
    for text in masked_lines(process.stdout):
        tail.append(text)
        with suppress(Exception):  # go on reading if `on_line` fails: a full pipe would block the stage
            on_line(tail[-1])


def _shell() -> list[str]:
    shell = os.environ.get("SHELL") or "/bin/sh"
    return [shell, *SHELL_OPTIONS.get(Path(shell).name, [])]
