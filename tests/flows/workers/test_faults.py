"""Faults while stages run in a pool: each ends in a right result or a clear failure, and leaves no run hanging."""

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
from tests.flows.workers.toys import write

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm]

IN_POOL = {"train@*": {"pool": POOL}}


def held(folder: Path) -> str:
    """Command with which a training tells where it runs, and goes on when the file `hold` is removed."""
    (folder / "hold").touch()
    return f"basename $HOME > {folder}/at; while [ -e {folder}/hold ]; do sleep 0.1; done;"


def test_worker_killed(clones: Clones, toy: Toy) -> None:
    """A worker is killed with all its children: its run is marked Crashed, another worker does the stage."""
    project = clones.publish(write(toy, held(clones.folder)), IN_POOL)
    run = clones.begin("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists() and bool((clones.folder / "at").read_text()), timeout_s=120)
    victim = (clones.folder / "at").read_text().strip()
    clones.farm.workers[victim].stop()
    try:
        (clones.folder / "hold").unlink()
        output = run.wait()
    finally:
        clones.farm.workers[victim].start()
    assert f"worker {victim} was lost: no sign of life" in output
    assert clones.states() == ["CRASHED", "COMPLETED"]
    assert project.read("where-p").strip() == next(name for name in clones.farm.hosts if name != victim)
    assert "up to date" in clones.status("train@p")


def test_server_restarted(clones: Clones, toy: Toy) -> None:
    """The Prefect server ends without grace in the middle and comes back: the run goes on to its end, the only one."""
    clones.publish(write(toy, held(clones.folder)), IN_POOL)
    run = clones.begin("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    clones.farm.prefect.stop()
    (clones.folder / "hold").unlink()
    clones.farm.prefect.start()
    run.wait()
    assert clones.states() == ["COMPLETED"]
    assert "up to date" in clones.status("train@p")


def test_remote_away(clones: Clones, toy: Toy) -> None:
    """The DVC remote cannot be reached when a result is to be given: it is waited for."""
    clones.publish(write(toy, held(clones.folder)), IN_POOL)
    run = clones.begin("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    with sshd_away(clones):
        (clones.folder / "hold").unlink()
        wait_until(lambda: doing(clones) == "giving the result", timeout_s=60)
    run.wait()
    assert clones.states() == ["COMPLETED"]
    assert "up to date" in clones.status("train@p")


def test_remote_full(clones: Clones, toy: Toy) -> None:
    """A full remote fails the stage with the remote's own words, at once."""
    mounted = clones.folder / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mounted], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        write(toy)
        toy.write({"train.sh": "head -c 200000 /dev/urandom > $1.model\n"})
        clones.publish(toy, IN_POOL, url=str(mounted))
        output = clones.inkflow("run", "train@p", code=1)
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert "the DVC remote could not take" in output
    assert "No space left on device" in output
    assert clones.states() == ["FAILED"]


def test_two_orchestrators(clones: Clones, toy: Toy) -> None:
    """Two clones need the same stage at the same time: it is computed once, and both have the result."""
    write(toy, held(clones.folder))
    toy.write({"dvc.yaml": toy.read("dvc.yaml").replace("date +%s.%N", "echo two")})
    project = clones.publish(toy, IN_POOL)
    other = clones.another(clones.folder / "other")
    first = clones.begin("run", "train@p")
    clones.wait_for("RUNNING")
    second = clones.begin("run", "train@p", folder=other.folder)
    seen = second.until("another run has it done")
    (clones.folder / "hold").unlink()
    first.wait()
    second.wait()
    assert seen
    assert clones.states() == ["COMPLETED"]
    assert project.read("p.model") == other.read("p.model")
    assert project.read("dvc.lock") == other.read("dvc.lock")


def test_interrupted(clones: Clones, toy: Toy) -> None:
    """Ctrl-C cancels what was sent, and the worker ends the stage with all that it started."""
    clones.publish(write(toy, held(clones.folder)), IN_POOL)
    run = clones.begin("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    run.process.send_signal(signal.SIGINT)
    run.wait(code=130)
    clones.wait_for("CANCELLED")
    wait_until(lambda: not stages_at_work(), timeout_s=60)


def test_flow_ended_elsewhere(clones: Clones, toy: Toy) -> None:
    """`inkflow run` is killed, and somebody sets its flow's run to Crashed: the worker ends the stage."""
    clones.publish(write(toy, held(clones.folder)), IN_POOL)
    run = clones.begin("run", "train@p")
    wait_until(lambda: (clones.folder / "at").exists(), timeout_s=120)
    run.process.kill()
    run.wait(code=-signal.SIGKILL)
    newest = {"flows": {"name": {"any_": ["inkflow"]}}, "sort": "START_TIME_DESC", "limit": 1}
    (flow_run,) = clones.farm.ask("flow_runs/filter", newest)
    clones.farm.ask(f"flow_runs/{flow_run['id']}/set_state", {"state": {"type": "CRASHED"}, "force": True})
    clones.wait_for("CANCELLED")
    wait_until(lambda: not stages_at_work(), timeout_s=60)


def stages_at_work() -> list[int]:
    """Processes that workers' stages started."""
    found = []
    for process in psutil.process_iter():
        try:
            if "/.inkflow/worker/" in process.environ().get(MARK, ""):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def doing(clones: Clones) -> str:
    """What the worker says that it does for the newest run."""
    runs = [run["id"] for run in clones.sent()]
    artifacts = clones.farm.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": runs}}})
    return "giving the result" if any("giving the result" in str(artifact["data"]) for artifact in artifacts) else ""


@contextmanager
def sshd_away(clones: Clones) -> Iterator[None]:
    """Nobody listens where the remote was, and its connections are cut."""
    clones.farm.sshd.stop()
    try:
        yield
    finally:
        clones.farm.sshd.start()
