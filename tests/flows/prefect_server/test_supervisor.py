"""The supervisor of `inkflow up`: which dead processes are restarted, and which end `inkflow up`."""

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.prefect_server import supervisor
from flows.prefect_server.supervisor import MAX_RESTARTS, SupervisedProcess, Supervisor
from stages.base.errors import InkflowError
from tests.conftest import wait_until


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[SupervisedProcess]:
    """A started process that ends at once with an error message."""
    (tmp_path / "short.py").write_text("raise SystemExit('no luck')\n")
    worker = SupervisedProcess("worker", ["short"], {"PYTHONPATH": str(tmp_path)}, tmp_path, tmp_path / "log")
    yield worker
    worker.process.wait(240)


def restart(worker: SupervisedProcess, times: int) -> None:
    """Waits for the end of the process and restarts it, several times."""
    for _ in range(times):
        worker.process.wait(240)
        assert worker.restart_if_dead()


def test_process_that_dies_again_and_again_is_given_up(worker: SupervisedProcess) -> None:
    """After MAX_RESTARTS restarts in short order, the process is not restarted; the error shows the end of its log."""
    restart(worker, MAX_RESTARTS)
    with pytest.raises(InkflowError, match=r"worker keeps ending after its start: .*no luck"):
        restart(worker, 1)


def test_process_that_dies_now_and_then_is_restarted(
    worker: SupervisedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was up for STABLE_S is restarted, however many restarts came before."""
    restart(worker, MAX_RESTARTS)
    monkeypatch.setattr(supervisor, "STABLE_S", 0.2)  # ten minutes otherwise
    time.sleep(0.3)
    restart(worker, 1)
    monkeypatch.undo()
    restart(worker, MAX_RESTARTS - 1)


def test_long_log_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has become long goes on in an empty file; no line of the process is lost, and the older part stays."""
    monkeypatch.setattr(supervisor, "LOG_BYTES", 1000)
    (tmp_path / "talk.py").write_text(
        "import pathlib, time\n"
        "for number in range(400):\n"
        "    print(number, flush=True)\n"
        "    while number == 300 and not pathlib.Path('go').exists(): time.sleep(0.01)\n"
    )
    log = tmp_path / "log"
    talker = SupervisedProcess("talker", ["talk"], {"PYTHONPATH": str(tmp_path)}, tmp_path, log)
    wait_until(lambda: "\n300\n" in log.read_text(), timeout_s=60)
    talker.cut_log()
    assert log.read_text() == ""
    (tmp_path / "go").touch()
    assert talker.process.wait(240) == 0
    talker.cut_log()
    lines = ((tmp_path / "log.1").read_text() + log.read_text()).split()
    assert lines == [str(number) for number in range(400)]


def test_long_log_is_cut_on_a_full_disk(
    worker: SupervisedProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the copy cannot be written, the log is cut nevertheless, the earlier copy stays, and no error is raised."""
    monkeypatch.setattr(supervisor, "LOG_BYTES", 1000)
    worker.process.wait(240)
    log, earlier = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(bytes(5000))
    earlier.write_text("earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # a write fails, as on a full disk
        worker.cut_log()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.read_bytes() == b"" and earlier.read_text() == "earlier"
    assert not (tmp_path / "log.new").exists()
    log.unlink()
    worker.cut_log()


WORKER = """
import os, pathlib, signal, subprocess, sys, time
if sys.argv[1:] == ["run"]:
    def end(*_):
        server = int(pathlib.Path("server.pid").read_text())
        pathlib.Path("told").write_text(str(os.path.exists(f"/proc/{server}")))
        sys.exit()
    signal.signal(signal.SIGTERM, end)
    pathlib.Path("runs").touch()
else:
    subprocess.Popen([sys.executable, __file__, "run"])
time.sleep(600)
"""
SERVER = "import os, pathlib, time; pathlib.Path('server.pid').write_text(str(os.getpid())); time.sleep(600)\n"


def test_no_run_tells_the_server_that_a_stop_ended_it(tmp_path: Path) -> None:
    """The server ends before the runs do: their state is then that of a run that died with `inkflow up`."""
    (tmp_path / "serve.py").write_text(SERVER)
    (tmp_path / "work.py").write_text(WORKER)
    with Supervisor(tmp_path, tmp_path) as processes:
        processes.add("server", ["serve"], {"PYTHONPATH": str(tmp_path)})
        processes.add("worker", ["work"], {"PYTHONPATH": str(tmp_path)})
        wait_until(lambda: (tmp_path / "server.pid").exists() and (tmp_path / "runs").exists(), timeout_s=60)
    assert (tmp_path / "told").read_text() == "False"
