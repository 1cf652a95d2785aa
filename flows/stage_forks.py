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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from flows.fork_orders import is_ours, next_number, order_fork
from flows.machine import GPUS

PROGRAM = Path(__file__).with_name("stage_prefork.py")
PLAIN = re.compile(r"python3? -m [\w.]+( [\w@%+=:,./ -]+)?")  # nothing in it that a shell would read otherwise
OF_A_STAGE = re.compile(f"DVC_.*|{GPUS}")  # variables that differ from stage to stage, and that no import reads


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


class Prefork:
    """A process that imports modules and is forked then."""

    def __init__(self, key: Key, folder: Path) -> None:
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

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> Fork | None:
        """A process that does what `python *arguments` does, when all is imported; None where there is none."""
        with ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            if connection.connect_ex(self._name) or not is_ours(connection):
                return None
            ours, theirs = os.pipe()
            pid = order_fork(connection, arguments, environment, folder, [theirs, theirs])
            os.close(theirs)
            if pid is None:
                os.close(ours)
                return None
            stack.pop_all()
            return Fork(pid, connection, ours)

    @property
    def fault(self) -> str:
        """Why it ended, in its own last words; empty while it runs, and where it made room for newer code."""
        if not self._process.poll():
            return ""
        self._words.seek(0)
        said = self._words.read().decode(errors="replace").splitlines()
        return said[-1] if said else f"exit code {self._process.returncode}"

    def end(self) -> None:
        """End it, and its forks where there are any."""
        self._process.terminate()
        self._process.wait()
        self._words.close()


class StageForks:
    """The processes that stages of one engine are forks of; calls come from many threads."""

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self._folder, self._note = folder, note
        self._there: dict[Key, Prefork | None] = {}  # None: it could not be used
        self._lock = threading.Lock()

    def prepare(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Have `modules` imported for stages with this environment; comes back at once."""
        key = Key.of(modules, environment)
        with self._lock:
            if modules and key not in self._there and sys.platform.startswith("linux"):
                self._there[key] = Prefork(key, self._folder)

    def start(self, line: str, modules: Sequence[str], environment: Mapping[str, str], folder: str) -> Fork | None:
        """The command `line` as a fork; None where nothing was prepared for it, or where it needs a shell."""
        key = Key.of(modules, environment)
        prefork = self._there.get(key)
        if prefork is None or not _means_us(line, environment):
            return None
        fork = prefork.fork(shlex.split(line)[1:], environment, folder)
        if fork is None and prefork.fault:
            with self._lock:
                known, self._there[key] = self._there[key], None
            if known is not None:
                self._note(f"preload: {' '.join(modules)}: {prefork.fault}; stages start without it")
                known.end()
        return fork

    def close(self) -> None:
        """End them all."""
        with self._lock:
            for prefork in self._there.values():
                if prefork is not None:
                    prefork.end()
            self._there.clear()


def _means_us(line: str, environment: Mapping[str, str]) -> bool:
    """Whether a shell would start this very Python with a module, and do no more."""
    if not PLAIN.fullmatch(line):
        return False
    found = shutil.which(line.split()[0], path=environment.get("PATH"))
    return found is not None and Path(found).parent == Path(sys.executable).parent
