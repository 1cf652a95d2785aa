"""The process of which a worker's flow runs are forks: no client can end it, and it leaves no fork behind."""

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

from flows.engine.processes.fork_protocol import INT32
from flows.engine.processes.process_trees import terminate_trees
from flows.workers.run_launcher import socket_name
from tests.conftest import wait_until
from tests.support.root import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs are forked on Linux alone")
LAUNCHER = [sys.executable, "-m", "flows.workers.run_launcher"]
# The forks write their process id, wait, and end with a code, in place of Prefect's engine.
SERVER = """
import os, pathlib, sys, time
from flows.workers.run_fork_server import fork_server, import_libraries
server = fork_server(int(sys.argv[1]))
server.serve()
pathlib.Path("pid").write_text(f"{os.getpid()}\\n")
while not pathlib.Path("end").exists():
    time.sleep(0.05)
sys.exit(int(os.environ["CODE"]))
"""


@contextmanager
def fork_server(worker: int, program: str = SERVER) -> Iterator[subprocess.Popen[bytes]]:
    """A fork server of the worker with this process id."""
    command = [sys.executable, "-c", program, str(worker)]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            wait_until(lambda: is_listening(worker), timeout_s=60)
            yield process
        finally:
            terminate_trees([process.pid])


@contextmanager
def flow_run(folder: Path, code: int) -> Iterator[subprocess.Popen[bytes]]:
    """A run of which this process is the worker, after its fork has started in `folder`; it ends with `code`."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "CODE": str(code), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(LAUNCHER, cwd=folder, env=environment) as process:
        try:
            wait_until(lambda: pid_in(folder) is not None, timeout_s=60)
            yield process
        finally:
            process.kill()


def pid_in(folder: Path) -> int | None:
    """Process id of the run in `folder`, once it has written it."""
    content = (folder / "pid").read_text() if (folder / "pid").exists() else ""
    return int(content) if content.endswith("\n") else None


def is_listening(worker: int) -> bool:
    """True if the fork server of a worker accepts connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(socket_name(worker)) == 0


@pytest.mark.farm
def test_invalid_requests_end_nothing(tmp_path: Path) -> None:
    """After requests that are cut off, empty or invalid, and a launcher that is killed, the other runs end with their
    own exit codes.
    """
    with fork_server(os.getpid()) as process, flow_run(tmp_path / "a", 7) as first:
        no_request = json.dumps({"environment": 1}).encode()
        requests = [b"", b"\0", INT32.pack(100), INT32.pack(100) + b"{", INT32.pack(2) + b"{]"]
        for request in [*requests, INT32.pack(len(no_request)) + no_request]:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(socket_name(os.getpid()))
                connection.sendall(request)
        with socket.socket(socket.AF_UNIX) as connection:  # both outputs, with a request that has no content
            connection.connect(socket_name(os.getpid()))
            socket.send_fds(connection, [INT32.pack(2) + b"{}"], [1, 2])
        with socket.socket(socket.AF_UNIX) as silent, flow_run(tmp_path / "b", 0) as killed:
            silent.connect(socket_name(os.getpid()))
            pid = pid_in(tmp_path / "b")
            assert pid is not None
            killed.send_signal(signal.SIGKILL)
            wait_until(lambda: not psutil.pid_exists(pid), timeout_s=60)
            with flow_run(tmp_path / "c", 9) as last:
                for name in "ac":
                    (tmp_path / name / "end").touch()
                assert (first.wait(240), last.wait(240)) == (7, 9)
        assert process.poll() is None


def test_changed_code_is_imported_again(tmp_path: Path) -> None:
    """If an imported file has changed, the run starts Python anew, and the fork server ends with its last run."""
    module, folder = tmp_path / "imported_by_the_server.py", tmp_path / "a"
    module.write_text("")
    (folder / "prefect").mkdir(parents=True)  # in place of Prefect's engine, found in the working folder of the run
    (folder / "prefect/__init__.py").write_text("")
    (folder / "prefect/engine.py").write_text(
        "import pathlib; pathlib.Path('pid').write_text('0\\n'); raise SystemExit(5)"
    )
    program = f"import sys; sys.path.append({str(tmp_path)!r}); import {module.stem}\n{SERVER}"
    with fork_server(os.getpid(), program) as process:
        with flow_run(tmp_path / "b", 3) as forked:
            module.write_text("changed = True\n")
            with flow_run(folder, 0) as started:
                assert (started.wait(240), pid_in(folder)) == (5, 0)
            assert not is_listening(os.getpid())  # the next run starts another fork server
            assert process.poll() is None
            (tmp_path / "b/end").touch()
            assert forked.wait(240) == 3
        assert process.wait(240) == 0


def test_runs_outlive_their_worker(tmp_path: Path) -> None:
    """A run goes on after its worker is killed; then its fork server ends too."""
    folder = tmp_path / "a"
    folder.mkdir()
    start = f"import subprocess, sys; sys.stdin.readline(); subprocess.run({LAUNCHER})"
    environment = {**os.environ, "CODE": "0", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", start], cwd=folder, stdin=subprocess.PIPE, env=environment) as worker:
        try:
            with fork_server(worker.pid) as process:
                assert worker.stdin is not None
                worker.stdin.write(b"\n")
                worker.stdin.flush()
                wait_until(lambda: pid_in(folder) is not None, timeout_s=60)
                worker.kill()
                worker.wait()
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(1)  # several of the server's polls
                (folder / "end").touch()
                assert process.wait(240) == 0
        finally:
            worker.kill()


@pytest.mark.farm
def test_own_modules_are_those_of_the_run(tmp_path: Path) -> None:
    """A run has Prefect and DVC imported, and none of the project's modules: its commit may be another one."""
    loaded = "[name in sys.modules for name in ('prefect.flow_engine', 'dvc.repo', 'flows', 'stages')]"
    program = SERVER.replace("server.serve()", "import_libraries(); server.serve()").replace(
        "sys.exit(", f"sys.exit({loaded} != [True, True, False, False] or "
    )
    with fork_server(os.getpid(), program), flow_run(tmp_path / "a", 6) as run:
        (tmp_path / "a/end").touch()
        assert run.wait(240) == 6
