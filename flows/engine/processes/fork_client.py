"""Stages as forks of a process that has imported what they compute with: imports are paid once a run, not once a stage.

It does for a command of the form `python -m MODULE ARGUMENT...` what the shell would; all others are left to the shell.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, Self

from flows.engine.processes.fork_protocol import POLL_S, is_ours, is_readable, next_number, order_fork
from flows.engine.processes.process_trees import GRACE_S, end_trees
from flows.engine.resources import GPUS

IMPORT_S = 120.0  # that a stage waits for imports, on a busy machine
PROGRAM = Path(__file__).with_name("stage_fork_server.py")
PLAIN = re.compile(r"python3? -m [\w.]+( [\w@%+=:,./ -]+)?")  # nothing in it that a shell would read otherwise
PLAIN_SHELLS = ("sh", "dash", "bash")
OF_A_STAGE = re.compile(f"DVC_.*|PREFECT_.*|PWD|{GPUS}")  # variables that may differ, and that no import reads


class Key(NamedTuple):
    """What one process can be forked for: modules that are imported, in an environment."""

    modules: tuple[str, ...]
    environment: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, modules: Sequence[str], environment: Mapping[str, str]) -> Self:
        """The key of a stage with this environment."""
        shared = {name: value for name, value in environment.items() if not OF_A_STAGE.fullmatch(name)}
        return cls(tuple(modules), frozenset(shared.items()))


class Fork:
    """A stage's process, as `subprocess.Popen` would have it."""

    def __init__(self, pid: int, connection: socket.socket, output: int) -> None:
        self.pid, self._connection = pid, connection
        self.stdout = open(output, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the block

    def wait(self) -> int:
        """Its exit code, when it has ended; a signal's number, negative, where one ended it."""
        code = next_number(self._connection)
        return -signal.SIGKILL if code is None else code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self._connection.close()


class ForkServerProcess:
    """A process that imports modules and is forked then."""

    def __init__(self, key: Key, folder: Path) -> None:
        self._is_late = False  # somebody waited too long for what it imports
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind("")  # a name that the system chooses; no file, it goes with the process
            listener.listen(128)
            self._name = listener.getsockname()
            self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(os.getpid()), str(listener.fileno()), str(folder), *key.modules],
                cwd=folder,
                env=dict(key.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: str, is_wanted: Callable[[], bool]
    ) -> Fork | None:
        """A process that does what `python *arguments` does, when all is imported; None where there is none.

        That is waited for as long as it `is_wanted`.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            if connection.connect_ex(self._name) or not is_ours(connection):
                return None
            ours, theirs = os.pipe()
            stack.callback(os.close, ours)
            order_fork(connection, arguments, environment, folder, [theirs, theirs])
            os.close(theirs)
            end = time.monotonic() + IMPORT_S
            while not is_readable(connection, POLL_S):
                if time.monotonic() > end:
                    self._is_late = True
                if self._is_late or not is_wanted():
                    return None
            pid = next_number(connection)
            if pid is None:
                with suppress(subprocess.TimeoutExpired):  # it takes a moment to end
                    self._process.wait(GRACE_S)
                return None
            stack.pop_all()
            return Fork(pid, connection, ours)

    @property
    def fault(self) -> str:
        """Why it cannot be used; empty where it made room for newer code."""
        if self._is_late:
            return f"not imported after {IMPORT_S:g} s"
        if not self._process.poll():
            return ""
        self._words.seek(0)
        said = self._words.read().decode(errors="replace").splitlines()
        return said[-1] if said else f"exit code {self._process.returncode}"

    def end(self) -> None:
        """End it, and its forks where there are any."""
        end_trees([self._process.pid])
        self._process.wait()
        self._words.close()


class ForkClient:
    """The processes that stages of one engine are forks of; calls come from many threads."""

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self._folder, self._note = folder, note
        self._there: dict[Key, ForkServerProcess | None] = {}  # None: it could not be used
        self._lock, self._closed = threading.Lock(), False

    def prepare(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Have `modules` imported for stages with this environment; comes back at once."""
        key = Key.of(modules, environment)
        with self._lock:
            if self._closed or not modules or key in self._there or not sys.platform.startswith("linux"):
                return
            try:
                self._there[key] = ForkServerProcess(key, self._folder)
                return
            except OSError as error:
                self._there[key], fault = None, error
        self._tell(key, str(fault))

    def start(
        self,
        line: str,
        modules: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        is_wanted: Callable[[], bool],
    ) -> Fork | None:
        """The command `line` as a fork; None where nothing was prepared for it, or where it needs a shell."""
        key = Key.of(modules, environment)
        prefork = self._there.get(key)
        if prefork is None or not _means_us(line, environment):
            return None
        fork = prefork.fork(shlex.split(line)[1:], {**environment, "PWD": folder}, folder, is_wanted)
        if fork is None and is_wanted():
            self._give_up(key, prefork)
        return fork

    def _give_up(self, key: Key, prefork: ForkServerProcess) -> None:
        """Say once that something cannot be imported."""
        with self._lock:
            if self._there.get(key) is not prefork or not (fault := prefork.fault):  # it made room, or was ended
                return
            self._there[key] = None
        prefork.end()
        self._tell(key, fault)

    def _tell(self, key: Key, fault: str) -> None:
        self._note(f"preload: {' '.join(key.modules)}: {fault}; stages start without it")

    def close(self) -> None:
        """End them all; who waits for one of them waits no longer, and none can be prepared any more."""
        with self._lock:
            self._closed = True
            there = [prefork for prefork in self._there.values() if prefork is not None]
            self._there.clear()
        for prefork in there:
            prefork.end()


def _means_us(line: str, environment: Mapping[str, str]) -> bool:
    """Whether a shell would start this very Python with a module, and do no more: read no file of its own, too."""
    shell = Path(environment.get("SHELL") or "sh").name
    if not PLAIN.fullmatch(line) or shell not in PLAIN_SHELLS or (shell == "bash" and "BASH_ENV" in environment):
        return False
    found, here = shutil.which(line.split()[0], path=environment.get("PATH")), Path(sys.executable)
    return found is not None and Path(found).parent == here.parent and Path(found).resolve() == here.resolve()
