"""Injects faults while stages run in a pool: each ends in a correct result or a clear failure, and no run hangs."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.engine.processes.command_runner import MARK
from tests.conftest import Toy, wait_until
from tests.flows.workers.conftest import POOL, Clones
from tests.flows.workers.projects import write_project

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm, pytest.mark.timeout(900)]  # on a busy machine

IN_POOL = {"train@*": {"pool": POOL}}


def hold_command(folder: Path) -> str:
    """Return a command that writes its host's name to the file `at`, and waits until the file `hold` is removed."""
    (folder / "hold").touch()
    return f"basename $HOME > {folder}/at; while [ -e {folder}/hold ]; do sleep 0.1; done;"


def test_worker_killed(clones: Clones, toy: Toy) -> None:
    """If a worker is killed with its child processes, its run is marked Crashed and another worker runs the stage."""
    project = clones.publish(write_project(toy, hold_command(clones.folder)), IN_POOL)
    run = clones.start("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists() and bool((clones.folder / "at").read_text()), timeout_s=120)
    killed = (clones.folder / "at").read_text().strip()
    clones.farm.workers[killed].stop()
    try:
        (clones.folder / "hold").unlink()
        output = run.wait()
    finally:
        clones.farm.workers[killed].start()
    assert f"worker {killed} was lost: no heartbeat" in output
    assert clones.states() == ["CRASHED", "COMPLETED"]
    assert project.read("where-p").strip() == next(name for name in clones.farm.hosts if name != killed)
    assert "up to date" in clones.status("train@p")


def test_server_restarted(clones: Clones, toy: Toy) -> None:
    """If the Prefect server is killed during a stage and started again, the run completes and is not repeated."""
    clones.publish(write_project(toy, hold_command(clones.folder)), IN_POOL)
    run = clones.start("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    clones.farm.prefect.stop()
    (clones.folder / "hold").unlink()
    clones.farm.prefect.start()
    run.wait()
    assert clones.states() == ["COMPLETED"]
    assert "up to date" in clones.status("train@p")


def test_remote_away(clones: Clones, toy: Toy) -> None:
    """If the DVC remote is unreachable when a result is pushed, the worker retries."""
    clones.publish(write_project(toy, hold_command(clones.folder)), IN_POOL)
    run = clones.start("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    with sshd_stopped(clones):
        (clones.folder / "hold").unlink()
        wait_until(lambda: is_pushing(clones), timeout_s=60)
    run.wait()
    assert clones.states() == ["COMPLETED"]
    assert "up to date" in clones.status("train@p")


def test_remote_full(clones: Clones, toy: Toy) -> None:
    """If the remote is full, the stage fails at once with the remote's own message."""
    mounted = clones.folder / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mounted], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        write_project(toy)
        toy.write({"train.sh": "head -c 200000 /dev/urandom > $1.model\n"})
        clones.publish(toy, IN_POOL, url=str(mounted))
        output = clones.inkflow("run", "train@p", code=1)
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert "the DVC remote could not store" in output
    assert "No space left on device" in output
    assert clones.states() == ["FAILED"]


def test_two_orchestrators(clones: Clones, toy: Toy) -> None:
    """If two clones need the same stage at the same time, it runs once and both get the result."""
    write_project(toy, hold_command(clones.folder))
    toy.write({"dvc.yaml": toy.read("dvc.yaml").replace("date +%s.%N", "echo two")})
    project = clones.publish(toy, IN_POOL)
    other = clones.clone_to(clones.folder / "other")
    first = clones.start("run", "train@p")
    clones.wait_for_state("RUNNING")
    second = clones.start("run", "train@p", folder=other.folder)
    line = second.wait_for_line("another run has already sent it")
    (clones.folder / "hold").unlink()
    first.wait()
    second.wait()
    assert line
    assert clones.states() == ["COMPLETED"]
    assert project.read("p.model") == other.read("p.model")
    assert project.read("dvc.lock") == other.read("dvc.lock")


def test_interrupted(clones: Clones, toy: Toy) -> None:
    """Ctrl-C cancels the sent run, and the worker ends the stage with all processes that it started."""
    clones.publish(write_project(toy, hold_command(clones.folder)), IN_POOL)
    run = clones.start("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    run.process.send_signal(signal.SIGINT)
    run.wait(code=130)
    clones.wait_for_state("CANCELLED")
    wait_until(lambda: not stage_processes(), timeout_s=60)


def test_flow_ended_elsewhere(clones: Clones, toy: Toy) -> None:
    """If `inkflow run` is killed and its flow run is set to Crashed, the worker ends the stage."""
    clones.publish(write_project(toy, hold_command(clones.folder)), IN_POOL)
    run = clones.start("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    run.process.kill()
    run.wait(code=-signal.SIGKILL)
    newest = {"flows": {"name": {"any_": ["inkflow"]}}, "sort": "START_TIME_DESC", "limit": 1}
    (flow_run,) = clones.farm.post("flow_runs/filter", newest)
    clones.farm.post(f"flow_runs/{flow_run['id']}/set_state", {"state": {"type": "CRASHED"}, "force": True})
    clones.wait_for_state("CANCELLED")
    wait_until(lambda: not stage_processes(), timeout_s=60)


def stage_processes() -> list[int]:
    """Return the process ids of all processes that stages on workers started."""
    pids = []
    for process in psutil.process_iter():
        try:
            if "/.inkflow/worker/" in process.environ().get(MARK, ""):
                pids.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return pids


def is_pushing(clones: Clones) -> bool:
    """Return True if the report of a sent run says that the worker pushes the result."""
    runs = [run["id"] for run in clones.sent_runs()]
    artifacts = clones.farm.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": runs}}})
    return any("pushing the result" in str(artifact["data"]) for artifact in artifacts)


@contextmanager
def sshd_stopped(clones: Clones) -> Iterator[None]:
    """Stop the SSH server of the remote, which cuts its connections, until the block ends."""
    clones.farm.sshd.stop()
    try:
        yield
    finally:
        clones.farm.sshd.start()
