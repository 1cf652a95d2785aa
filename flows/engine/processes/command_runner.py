"""Runs the commands of stages as processes, reads their output, and terminates them with all that they started."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import psutil

from flows.core.errors import Interrupted, StageFailed, StageTimedOut
from flows.core.redaction import mask, say
from flows.engine.opened_files.record import python_path
from flows.engine.processes.fork_client import Fork, ForkClient
from flows.engine.processes.process_trees import GRACE_S, started_s, terminate_trees
from flows.engine.processes.stage_output import StageOutput
from flows.engine.types import Command
from stages.base.errors import InkflowError, InvalidInput, machine_fault

MARK = "INKFLOW_ENGINE"  # environment variable of all processes of an engine, by which they are found after its death
SHELL_OPTIONS = {"bash": ["--noprofile", "--norc"], "zsh": ["--no-rcs"], "fish": ["--no-config"]}  # the same as DVC's
TOOL_FILES = ("uv-receipt.toml", "pipx_metadata.json")  # in the environments of `uv tool install` and `pipx install`
NO_SHELLS = ("nologin", "false", "true")  # of accounts that may not log in: they run no command
Process: TypeAlias = subprocess.Popen[bytes] | Fork


class CommandRunner:
    """Runs the commands of one engine; called from many threads.

    Attributes:
        stop_event: once it is set, no command starts.
    """

    def __init__(
        self,
        root: Path,
        log: Callable[[str], None] = say,
        wait_for_room: Callable[[float], bool] = lambda _: True,
    ) -> None:
        """Creates the runner.

        Args:
            root: folder of the project.
            log: called with a message if modules cannot be preloaded.
            wait_for_room: waits up to a number of seconds until more lines can be displayed; returns True then.
        """
        self._root, self._forks, self._wait_for_room = root, ForkClient(root, log), wait_for_room
        self._inherited = dict(os.environ)  # the caller's, before this process adds settings for Prefect
        self._running: dict[str, Process] = {}
        self._timed_out: set[str] = set()
        self.stop_event = threading.Event()

    def run(self, command: Command, on_line: Callable[[str], None], timeout_s: float | None = None) -> None:
        """Runs the lines of `command` one after another, and calls `on_line` with each line of their output.

        Raises:
            StageFailed: a line ended with an exit code other than 0; the following lines did not run.
            StageTimedOut: the command took longer than `timeout_s`, and was terminated.
            InkflowError: the system cannot start it, as without its working folder.
            Interrupted: `terminate` was called.
        """
        timer = threading.Timer(timeout_s, self._time_out, [command.stage]) if timeout_s else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            with StageOutput(on_line, self._wait_for_room, lambda: self._may_run(command.stage)) as output:
                try:
                    self._run_lines(command, output, on_line, timeout_s)
                except BaseException:
                    self._end_output(command, output, is_done=False)
                    raise
                self._end_output(command, output, is_done=len(command.lines) == 1)
            if command.stage in self._timed_out:  # while a process that has left the group still wrote
                raise StageTimedOut(command.stage, timeout_s or 0.0, list(output.tail))
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

    def _run_lines(
        self, command: Command, output: StageOutput, on_line: Callable[[str], None], timeout_s: float | None
    ) -> None:
        for number, line in enumerate(command.lines, start=1):
            on_line(mask(f"> {line}"))
            code = self._run_line(line, command, output, is_last=number == len(command.lines))
            if self.stop_event.is_set():
                raise Interrupted(command.stage)
            if command.stage in self._timed_out:
                raise StageTimedOut(command.stage, timeout_s or 0.0, list(output.tail))
            if code:
                raise StageFailed(command.stage, code, list(output.tail))

    def _run_line(self, line: str, command: Command, output: StageOutput, *, is_last: bool) -> int:
        """Runs one line of `command`, waits until its output is read, and returns its exit code."""
        if self.stop_event.is_set():
            raise Interrupted(command.stage)
        output.tail.clear()
        process = self._start(line, command, output.write_end)
        if process is None:
            return 0
        with process:
            self._running[command.stage] = process
            try:
                if not self._may_run(command.stage):  # stopped while the process started
                    terminate_trees([process.pid])
                code = process.wait()
                if is_last or code:  # background processes would write to outputs that are being recorded
                    terminate_trees([process.pid])
            finally:
                del self._running[command.stage]
        output.catch_up(is_last=is_last or code != 0)
        return code

    def _end_output(self, command: Command, output: StageOutput, *, is_done: bool) -> None:
        """Closes the output of `command`; terminates what it has left running, unless it `is_done` and nothing is left.

        Finds processes outside of the last process group and tree too: they may hold the output open.
        """
        if not (is_done and output.close(GRACE_S)):
            terminate_trees(_stage_pids(mark(self._root), command.stage))
            output.close(GRACE_S)

    def _start(self, line: str, command: Command, output: int) -> Process | None:
        """Starts one line of `command`, as a fork if possible; returns None if it may not run any more."""
        self._check_folder(command)
        environment = self._environment() | dict(command.environment)
        preload = command.preload if len(command.lines) == 1 else ()  # the end of a fork ends its background processes
        fork = self._forks.start(
            line, preload, environment, command.folder, output, lambda: self._may_run(command.stage)
        )
        if fork or not self._may_run(command.stage):  # the wait for the imports may have been long
            return fork
        try:
            return subprocess.Popen(
                die_with_parent([*_shell(), "-c", line]),
                cwd=command.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches the engine alone, which terminates the stages in order
            )
        except (OSError, ValueError) as error:  # ValueError: a null character
            if machine_fault(error) is not None:
                raise
            raise _not_started(command.stage, error) from error

    def _check_folder(self, command: Command) -> None:
        """Raises InvalidInput if the working folder of `command` does not exist."""
        name = os.path.relpath(command.folder, self._root)
        if not Path(command.folder).exists():
            raise InvalidInput(
                f"{command.stage}: `wdir` {name} does not exist; create it (git keeps no empty folders: add a file)"
            )
        if not Path(command.folder).is_dir():
            raise InvalidInput(f"{command.stage}: `wdir` {name} is a file, expected a folder; correct dvc.yaml")

    def _may_run(self, stage: str) -> bool:
        return not self.stop_event.is_set() and stage not in self._timed_out

    def _time_out(self, stage: str) -> None:
        self._timed_out.add(stage)
        process = self._running.get(stage)
        if process:
            terminate_trees([process.pid])

    def _environment(self) -> dict[str, str]:
        """Returns the environment of the caller, with this process's `python`, which notes what it opens.

        Of a tool that was installed on its own, the environment has no packages of the project: there the caller's
        `python` comes first.
        """
        folders = [str(Path(sys.executable).parent), self._inherited.get("PATH", os.defpath)]
        is_tool = any(Path(sys.prefix, name).exists() for name in TOOL_FILES)
        path = os.pathsep.join(reversed(folders) if is_tool else folders)
        own = {"PATH": path, "PYTHONPATH": python_path(self._inherited.get("PYTHONPATH"))}
        return self._inherited | own | {"PYTHONUNBUFFERED": "1", MARK: mark(self._root)}


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
    return f"{os.getpid()}@{started_s(os.getpid())}:{root}"


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
        return started_s(int(pid)) != created
    except (psutil.Error, ValueError):
        return True


def _not_started(stage: str, error: OSError | ValueError) -> InkflowError:
    """Returns the failure of a stage whose command the system does not start."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    is_long = isinstance(error, OSError) and error.errno == errno.E2BIG
    advice = "put a part of it into a script" if is_long else "correct `cmd` in dvc.yaml"
    return InkflowError(f"{stage}: its command cannot be started: {reason}; {advice}")


def _shell() -> list[str]:
    """Returns the shell of the user; /bin/sh for accounts without one, as those of services are."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    if Path(shell).name in NO_SHELLS or shutil.which(shell) is None:
        shell = "/bin/sh"
    return [shell, *SHELL_OPTIONS.get(Path(shell).name, [])]
