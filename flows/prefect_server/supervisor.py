"""The supervisor of `inkflow up`: starts the server and the workers, logs their output, and restarts dead ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from flows.core.code_path import own_command
from flows.engine.processes.command_runner import die_with_parent, mark
from flows.engine.processes.process_trees import GRACE_S, terminate_trees
from flows.prefect_server.watchdog import MARK, terminate_marked
from stages.base.errors import InkflowError

MAX_RESTARTS = 5  # of one process, each less than STABLE_S after the one before
STABLE_S = 600.0  # uptime after which restarts are counted from 0 again
END_S = 2 * GRACE_S  # for flow runs to end their stages; what they leave is repaired as after a kill
LOG_BYTES = 5_000_000  # of a log, and of the older part beside it
LOG_TAIL_LINES = 3  # in the message about a process that does not stay up


class SupervisedProcess:
    """A Python module that runs as a process, appends its output to a log, and can be restarted."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self.name, self._log = name, log
        self._command, self._environment, self._folder = [sys.executable, "-m", *arguments], environment, folder
        self._starts = 0
        self.process = self._start()

    def restart_if_dead(self) -> bool:
        """Restarts the process if it has ended, and returns whether it had.

        Raises:
            InkflowError: The process ended again after MAX_RESTARTS restarts.
        """
        if self.process.poll() is None:
            return False
        if time.monotonic() - self._started_at > STABLE_S:
            self._starts = 0
        if self._starts > MAX_RESTARTS:
            raise InkflowError(f"{self.name} keeps ending after its start: {self._log_tail()}; its log is {self._log}")
        self.process = self._start()
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts, self._started_at = self._starts + 1, time.monotonic()
        with self._log.open("ab") as log:
            return subprocess.Popen(
                die_with_parent(self._command),
                cwd=self._folder,
                env=os.environ | dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches `inkflow up` alone, which stops its processes in order
            )

    def cut_log(self) -> None:
        """Moves what the log has into `NAME.log.1` once it is longer than LOG_BYTES; the process goes on appending.

        If the disk is full or the folder cannot be written, the log is cut without a copy, and an earlier copy stays.
        """
        new = self._log.with_name(f"{self._log.name}.new")
        with suppress(OSError):
            if self._log.stat().st_size <= LOG_BYTES:
                return
            try:
                with self._log.open("rb") as log, new.open("wb") as older:
                    while part := log.read(1 << 20):  # what is appended meanwhile too
                        older.write(part)
                    older.flush()
                    new.replace(self._log.with_name(f"{self._log.name}.1"))
            except OSError:
                new.unlink(missing_ok=True)
            finally:
                os.truncate(self._log, 0)

    def _log_tail(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-LOG_TAIL_LINES:]) or "it printed nothing"


class Supervisor:
    """All processes of one `inkflow up`; they end with it, even if it is killed.

    Attributes:
        environment: Variables that mark a process, so that the watchdog terminates it with the others.
    """

    def __init__(self, root: Path, home: Path) -> None:
        self._root, self._home = root, home
        self._mark = mark(root)
        self.environment = {MARK: self._mark}
        self._processes: list[SupervisedProcess] = []
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Terminates the processes of an `inkflow up` that was killed with its watchdog, then starts a watchdog."""
        terminate_marked(f":{self._root}")
        self._watchdog = subprocess.Popen(
            own_command("flows.prefect_server.watchdog", self._mark),
            cwd=self._root,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Terminates server, flow runs and workers, in this order.

        With the server away, no run can report that it crashed: its state stays, and the next `inkflow up` finds it.
        """
        servers, workers = self._processes[:1], self._processes[1:]
        _terminate(servers)
        self._terminate_runs(workers)
        _terminate(workers)
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait()

    def add(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts `python -m <arguments>` as a supervised process; the first one has to be the server."""
        log = self._home / f"{name}.log"
        marked = {**environment, **self.environment}
        self._processes.append(SupervisedProcess(name, arguments, marked, self._root, log))

    def restart_dead(self) -> list[str]:
        """Restarts the processes that have ended, returns their names, and cuts logs that have become long.

        Raises:
            InkflowError: A process ended again after MAX_RESTARTS restarts.
        """
        for supervised in self._processes:
            supervised.cut_log()
        return [supervised.name for supervised in self._processes if supervised.restart_if_dead()]

    def _terminate_runs(self, workers: Sequence[SupervisedProcess]) -> None:
        runs: list[psutil.Process] = []
        for worker in workers:
            with suppress(psutil.Error):
                runs += psutil.Process(worker.process.pid).children()
        for run in runs:
            with suppress(psutil.Error):
                run.send_signal(signal.SIGTERM)
        psutil.wait_procs(runs, timeout=END_S)


def _terminate(processes: Sequence[SupervisedProcess]) -> None:
    for supervised in processes:
        terminate_trees([supervised.process.pid])
        supervised.process.wait()
