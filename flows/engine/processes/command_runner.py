"""Starting a stage's command, listening to it, and ending it with everything it started."""

import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import psutil

from flows.core.errors import Interrupted, StageFailed, StageTimedOut
from flows.core.redaction import mask
from flows.engine.processes.fork_client import Fork, ForkClient
from flows.engine.processes.process_trees import GRACE_S, end_trees
from flows.engine.types import Command

KEPT_LINES = 50  # of a stage's output, for the message when it fails
MARK = "INKFLOW_ENGINE"  # environment variable by which a stage's processes are known, also after their engine died
Process: TypeAlias = subprocess.Popen[str] | Fork
SHELL_FLAGS = {"bash": ["--noprofile", "--norc"], "zsh": ["--no-rcs"]}  # as DVC starts them


class CommandRunner:
    """The running commands of one engine."""

    def __init__(self, root: Path, note: Callable[[str], None] = print) -> None:
        self._root, self._forks = root, ForkClient(root, note)
        self._running: dict[str, Process] = {}
        self.ended = threading.Event()  # no command may start any more
        self._timed_out: set[str] = set()

    def run(self, command: Command, say: Callable[[str], None], timeout_s: float | None = None) -> None:
        """Run the lines of `command` one after another; each line of output goes to `say` as it comes.

        Raises:
            StageFailed: a line ended with an exit code other than 0; the rest is not run.
            StageTimedOut: it took longer than `timeout_s`; all that it started was ended.
            Interrupted: `end_all` was called.
        """
        timer = threading.Timer(timeout_s, self._time_out, [command.stage]) if timeout_s else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            for line in command.lines:
                say(mask(f"> {line}"))
                code, last = self._run_line(line, command, say)
                self._raise_for(command.stage, code, last, timeout_s)
        finally:
            if timer:
                timer.cancel()
            self._timed_out.discard(command.stage)

    def prepare(self, preload: Sequence[str], environment: Mapping[str, str]) -> None:
        """Import what stages with so much added environment may be forked with; come back at once."""
        self._forks.prepare(preload, self._environment() | dict(environment))

    def close(self) -> None:
        """End what was prepared for commands; none runs any more."""
        self._forks.close()

    def end_all(self) -> None:
        """End every running command with all that it started; none can be started any more."""
        self.ended.set()
        end_trees([process.pid for process in list(self._running.values())])
        self._forks.close()

    def _run_line(self, line: str, command: Command, say: Callable[[str], None]) -> tuple[int, list[str]]:
        """Exit code and last lines of output of one line of `command`."""
        if self.ended.is_set():
            raise Interrupted(command.stage)
        last: deque[str] = deque(maxlen=KEPT_LINES)
        started = self._start(line, command)
        if started is None:
            return 0, []
        with started as process:
            self._running[command.stage] = process
            if not self._wants(command.stage):  # since it was looked at last
                end_trees([process.pid])
            listener = threading.Thread(target=_listen, args=(process, last, say), daemon=True)
            listener.start()
            try:
                code = process.wait()
                end_trees([process.pid])  # what the command left running would write into outputs that are recorded
                listener.join(GRACE_S)
                if code or listener.is_alive():  # what left the group and the tree may hold our pipe for ever
                    end_trees(_escaped(mark(self._root), command.stage))
                    listener.join(GRACE_S)
                return code, list(last)
            finally:
                del self._running[command.stage]

    def _start(self, line: str, command: Command) -> Process | None:
        """One line of `command`, begun; None where it is not wanted any more."""
        environment = self._environment() | dict(command.environment)
        fork = self._forks.start(line, command.preload, environment, command.folder, lambda: self._wants(command.stage))
        if fork or not self._wants(command.stage):  # imports may have been waited for
            return fork
        return subprocess.Popen(
            tied_to_us([*_shell(), "-c", line]),
            cwd=command.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: Ctrl-C reaches the engine alone, which ends it in good order
            text=True,
            errors="replace",
        )

    def _wants(self, stage: str) -> bool:
        return not self.ended.is_set() and stage not in self._timed_out

    def _raise_for(self, stage: str, code: int, last: list[str], timeout_s: float | None) -> None:
        if self.ended.is_set():
            raise Interrupted(stage)
        if stage in self._timed_out:
            raise StageTimedOut(stage, timeout_s or 0.0)
        if code:
            raise StageFailed(stage, code, last)

    def _time_out(self, stage: str) -> None:
        self._timed_out.add(stage)
        process = self._running.get(stage)
        if process:
            end_trees([process.pid])

    def _environment(self) -> dict[str, str]:
        """This process's environment, in which `python` is the interpreter that runs it."""
        here = str(Path(sys.executable).parent)
        path = os.environ.get("PATH", os.defpath)
        added = {"PATH": f"{here}{os.pathsep}{path}", "PYTHONUNBUFFERED": "1", MARK: mark(self._root)}
        return os.environ | added


def end_orphans(root: Path) -> list[str]:
    """End what engines that died left running in the project at `root`; the stages that it belonged to."""
    orphans = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            engine, _, project = environment.get(MARK, "").partition(":")
            if project == str(root) and not _is_engine(engine):
                orphans.append((process.pid, environment.get("DVC_STAGE", "")))
    end_trees([pid for pid, _ in orphans])
    return sorted({stage for _, stage in orphans if stage})


def _escaped(our_mark: str, stage: str) -> list[int]:
    """Processes that `stage` started, whatever group or parent they have now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(MARK) == our_mark and environment.get("DVC_STAGE") == stage:
                found.append(process.pid)
    return found


def tied_to_us(command: Sequence[str]) -> list[str]:
    """`command` so that the system ends it when this process dies, where util-linux's setpriv is there."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def _listen(process: Process, last: deque[str], say: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for text in process.stdout:
        last.append(mask(text.rstrip("\n")))  # here, before anybody hears it
        with suppress(Exception):  # whoever cannot hear: a pipe that nobody empties would stop the stage
            say(last[-1])


def mark(root: Path) -> str:
    """Value of MARK: `<pid>@<start time>:<project>`: a process number alone may have come to another process since."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}:{root}"


def _is_engine(mark: str) -> bool:
    pid, _, created = mark.partition("@")
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == created
    except (psutil.Error, ValueError):
        return False


def _shell() -> list[str]:
    shell = os.environ.get("SHELL") or "/bin/sh"
    return [shell, *SHELL_FLAGS.get(Path(shell).name, [])]
