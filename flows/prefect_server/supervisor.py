"""The processes of `inkflow up`: the server and the workers, each with its log, started again when it dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from flows.core.code_path import CODE
from flows.engine.processes.command_runner import mark, tied_to_us
from flows.engine.processes.process_trees import end_trees
from flows.prefect_server.watchdog import MARK, end_marked, marked
from stages.base.errors import InkflowError

RESTARTS = 5  # of one process, one soon after another; what dies more often does not stay up by itself
STEADY_S = 600.0  # what was up for so long stays up by itself, and its restarts count anew
REPORT_S = 15.0  # for runs that are ended to tell the server so
SHOWN_LINES = 3  # of a log, when its process does not stay up


class Child:
    """One process that is kept up."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", *arguments]
        self._environment = environment
        self._starts, self._started_at = 0, 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, root: Path) -> None:
        """Start it."""
        self._starts, self._started_at = self._starts + 1, time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied_to_us(self._command),
                cwd=root,
                env=os.environ | dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at a terminal is for us alone: we end it in good order
            )

    def ensure(self, root: Path) -> bool:
        """Start it again if it died; whether it had.

        Raises:
            InkflowError: it died too often, each time soon.
        """
        if self.process is None or self.process.poll() is None:
            return False
        if time.monotonic() - self._started_at > STEADY_S:
            self._starts = 0
        if self._starts > RESTARTS:
            raise InkflowError(f"{self.name} does not stay up: {self.last_words}; its log is {self.log}")
        self.start(root)
        return True

    @property
    def last_words(self) -> str:
        """The end of its log in a line."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-SHOWN_LINES:]) or "it said nothing"


class Supervisor:
    """All processes of one `inkflow up`, which end with it, however it ends."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root, self._home = root, home
        self._mark = mark(root)
        self._children: list[Child] = []
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Supervisor":
        """End what another one left behind that was killed together with its keeper; start a keeper."""
        end_marked(f":{self._root}")
        keeper = [sys.executable, "-m", "flows.prefect_server.watchdog", self._mark]
        code = os.environ | {"PYTHONPATH": str(CODE)}
        self._keeper = subprocess.Popen(
            keeper, cwd=self._root, env=code, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it: runs first, so that they can tell the server, which goes last."""
        workers, servers = self._children[1:], self._children[:1]
        self._end_runs(workers)
        for child in [*workers, *servers]:
            if child.process is not None:
                end_trees([child.process.pid])
                child.process.wait()
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait()

    def add(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process and keep it up; the first one is the server."""
        log = self._home / f"{name}.log"
        child = Child(name, arguments, {**environment, MARK: self._mark}, log)
        child.start(self._root)
        self._children.append(child)
        return child

    def environment(self) -> dict[str, str]:
        """What a process needs beside to be ended with the others."""
        return {MARK: self._mark}

    def restarted(self) -> list[str]:
        """Names of those that had died and were started again.

        Raises:
            InkflowError: one died too often.
        """
        return [child.name for child in self._children if child.ensure(self._root)]

    def _end_runs(self, workers: Sequence[Child]) -> None:
        runs: list[psutil.Process] = []
        for worker in workers:
            with suppress(psutil.Error):
                if worker.process is not None:
                    runs += psutil.Process(worker.process.pid).children()
        for run in runs:
            with suppress(psutil.Error):
                run.send_signal(signal.SIGTERM)
        psutil.wait_procs(runs, timeout=REPORT_S)


def nothing_left(root: Path, within_s: float) -> bool:
    """Whether no process of an `inkflow up` in `root` is left after at most `within_s`."""
    end = time.monotonic() + within_s
    while marked(f":{root}"):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
