"""The process whose forks are a worker's runs: no client of it can end it, and it leaves no fork behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.engine.processes.fork_protocol import NUMBER
from flows.workers.run_launcher import name_of
from tests.conftest import ROOT, wait_until
from tests.remote.services import end_tree

# Forks do what Prefect's engine would do in earnest: tell who they are, wait, end with a code of their own.
FORKS = """
import os, pathlib, sys, time
from flows.workers.run_fork_server import prefork
prefork(int(sys.argv[1])).serve()
pathlib.Path("pid").write_text(f"{os.getpid()}\\n")
while not pathlib.Path("end").exists():
    time.sleep(0.05)
sys.exit(int(os.environ["CODE"]))
"""


@contextmanager
def prefork(worker: int, program: str = FORKS) -> Iterator[subprocess.Popen[bytes]]:
    """Such a process for the worker of this number."""
    command = [sys.executable, "-c", program, str(worker)]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            wait_until(lambda: listens(worker), timeout_s=60)
            yield process
        finally:
            end_tree(process.pid)


@contextmanager
def run(folder: Path, code: int) -> Iterator[subprocess.Popen[bytes]]:
    """A run of this process's, as a worker starts it, at work in `folder`."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "CODE": str(code), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "flows.workers.run_launcher"], cwd=folder, env=environment) as process:
        try:
            wait_until(lambda: fork(folder) is not None, timeout_s=60)
            yield process
        finally:
            process.kill()


def fork(folder: Path) -> int | None:
    """Number of the process that does the run in `folder`."""
    written = (folder / "pid").read_text() if (folder / "pid").exists() else ""
    return int(written) if written.endswith("\n") else None


def listens(worker: int) -> bool:
    """True when a worker's process takes connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(name_of(worker)) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs are forked on Linux alone")
def test_broken_orders_end_nothing(tmp_path: Path) -> None:
    """Connections that break off, say nothing or nonsense, and a command that is killed: the other run goes on to its
    end, and the next one is taken.
    """
    with prefork(os.getpid()) as process, run(tmp_path / "a", 7) as first:
        no_order = json.dumps({"environment": 1}).encode()
        words = [b"", b"\0", NUMBER.pack(100), NUMBER.pack(100) + b"{", NUMBER.pack(2) + b"{]"]
        for sent in [*words, NUMBER.pack(len(no_order)) + no_order]:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(name_of(os.getpid()))
                connection.sendall(sent)
        with socket.socket(socket.AF_UNIX) as connection:  # both outputs, and an order that is none
            connection.connect(name_of(os.getpid()))
            socket.send_fds(connection, [NUMBER.pack(2) + b"{}"], [1, 2])
        with socket.socket(socket.AF_UNIX) as silent, run(tmp_path / "b", 0) as killed:
            silent.connect(name_of(os.getpid()))
            pid = fork(tmp_path / "b")
            assert pid is not None
            killed.send_signal(signal.SIGKILL)
            wait_until(lambda: not psutil.pid_exists(pid), timeout_s=60)
            with run(tmp_path / "c", 9) as last:
                for name in "ac":
                    (tmp_path / name / "end").touch()
                assert (first.wait(60), last.wait(60)) == (7, 9)
        assert process.poll() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs are forked on Linux alone")
def test_changed_code_is_loaded_anew(tmp_path: Path) -> None:
    """When a file that was imported has changed, the run starts the ordinary way, and the process makes room."""
    module, folder = tmp_path / "module_of_a_project.py", tmp_path / "a"
    module.write_text("")
    # What stands in for Prefect's engine, found in the folder of the run; the run of this kind says so.
    (folder / "prefect").mkdir(parents=True)
    (folder / "prefect/__init__.py").write_text("")
    (folder / "prefect/engine.py").write_text(
        "import pathlib; pathlib.Path('pid').write_text('0\\n'); raise SystemExit(5)"
    )
    with prefork(
        os.getpid(), f"import sys; sys.path.append({str(tmp_path)!r}); import {module.stem}\n{FORKS}"
    ) as process:
        with run(tmp_path / "b", 3) as forked:
            module.write_text("changed = True\n")
            with run(folder, 0) as ordinary:
                assert (ordinary.wait(60), fork(folder)) == (5, 0)
            assert not listens(os.getpid())  # the next run finds nobody, and starts another process of this kind
            assert process.poll() is None  # as long as a run of it is left
            (tmp_path / "b/end").touch()
            assert forked.wait(60) == 3
        assert process.wait(60) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs are forked on Linux alone")
def test_forks_end_with_their_worker(tmp_path: Path) -> None:
    """A worker that is gone takes the runs with it."""
    folder = tmp_path / "a"
    folder.mkdir()
    launch = "subprocess.run([sys.executable, '-m', 'flows.workers.run_launcher'])"
    gate = f"import subprocess, sys; sys.stdin.readline(); {launch}"
    environment = {**os.environ, "CODE": "0", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", gate], cwd=folder, stdin=subprocess.PIPE, env=environment) as worker:
        try:
            with prefork(worker.pid) as process:
                assert worker.stdin is not None
                worker.stdin.write(b"\n")
                worker.stdin.flush()
                wait_until(lambda: fork(folder) is not None, timeout_s=60)
                pid = fork(folder)
                assert pid is not None
                worker.kill()
                worker.wait()
                assert process.wait(60) == 0
                wait_until(lambda: not psutil.pid_exists(pid), timeout_s=60)
        finally:
            worker.kill()
