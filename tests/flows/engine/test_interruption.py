"""Interrupts, kills and other processes during a run: the next run completes correctly."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from flows.engine.types import Outcome
from tests.conftest import Inkflow, Toy, run_engine, wait_until
from tests.flows.engine.helpers import errors_of, locks, outcomes, run_as_planned, stage_processes, status, succeeded
from tests.support.prefect_api import api
from tests.support.root import ROOT

RUN = [sys.executable, "-m", "tests.support.engine_alone", "4"]

SLOW = """
stages:
  first: {cmd: "echo >> first.runs; cat in > first", deps: [in], outs: [first]}
  slow:
    foreach: [p, q]
    do:
      cmd: >-
        echo >> slow-${item}.runs; echo half > ${item}; (sh -c "sleep ${seconds}; true");
        echo ${item} | cat - first > ${item}
      deps: [first]
      outs: ["${item}"]
  last: {cmd: "echo >> last.runs; cat p q > last", deps: [p, q], outs: [last]}
"""


def slow(seconds: float) -> dict[str, str]:
    """Returns a project with the graph first → two slow stages, each with a grandchild process → last."""
    return {"dvc.yaml": SLOW.replace("${seconds}", str(seconds)), "in": "one\n"}


def engine_process(folder: Path) -> "subprocess.Popen[str]":
    """Starts a process that runs the engine alone, without Prefect, in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(RUN, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def inkflow_process(folder: Path, url: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Starts `inkflow run` as a process, and kills it at the end of the block."""
    environment = os.environ | {"PREFECT_API_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows", "run", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("no_orphans")
@pytest.mark.parametrize(
    ("victim", "rounds"),
    [
        ("stage", (0,)),
        pytest.param("stage", (1,), marks=pytest.mark.farm),
        pytest.param("engine", (0, 1), marks=pytest.mark.farm),
        pytest.param("grandchild", (0, 1), marks=pytest.mark.farm),
    ],
)
def test_killed(toy: Toy, victim: str, rounds: tuple[int, ...]) -> None:
    """After kill -9 of the engine, a stage or a grandchild at a random moment, the next run completes correctly."""
    toy.write(slow(0.4))
    for round_ in rounds:
        toy.write({"in": f"round {round_}\n"})
        kill_one(toy.folder, victim, random.Random(f"{victim} {round_}").uniform(0.0, 0.9))
        complete_after_kill()
        assert toy.read("last") == f"p\nround {round_}\nq\nround {round_}\n"
        assert status() == {}


def kill_one(folder: Path, victim: str, after_s: float) -> None:
    """Starts a run, waits until its stages run and then `after_s`, and kills the victim."""
    with engine_process(folder) as engine:
        wait_until(lambda: bool(stage_processes(folder)) or engine.poll() is not None, timeout_s=60)
        time.sleep(after_s)
        processes = stage_processes(folder)
        if victim == "engine":
            engine.kill()
        elif processes:
            process = processes[-1] if victim == "grandchild" else processes[0]
            with suppress(psutil.NoSuchProcess):  # it may have ended by itself meanwhile
                process.kill()
        engine.communicate(timeout=240)


def complete_after_kill() -> None:
    """Runs twice after a kill: the first run completes the work, the second one has nothing to do."""
    succeeded(run_engine(jobs=4))
    assert set(outcomes(run_as_planned()).values()) == {Outcome.UNCHANGED}


@pytest.mark.usefixtures("no_orphans")
@pytest.mark.farm
def test_clock_set_back(toy: Toy) -> None:
    """If the clock is set back by a day, another run does not take a living run for a dead one, and ends no stage."""
    toy.write(slow(600))
    with engine_process(toy.folder) as engine:
        wait_until(lambda: toy.runs("slow-p") == 1, timeout_s=60)
        find = "from pathlib import Path; from flows.dvc_repo.recovery import recover; recover(Path())"
        done = with_earlier_start(toy.folder, [sys.executable, "-c", find])
        assert done.returncode == 0, done.stderr
        assert stage_processes(toy.folder)
        assert toy.runs("slow-p") == 1
        engine.kill()
    assert with_earlier_start(toy.folder, [sys.executable, "-c", find]).returncode == 0
    assert stage_processes(toy.folder) == []


def with_earlier_start(folder: Path, command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Runs a command that is told that the system started a day earlier, as after the clock was set back by a day."""
    start = re.compile(r"^btime (\d+)$", re.MULTILINE)
    stat = start.sub(lambda match: f"btime {int(match[1]) - 86400}", Path("/proc/stat").read_text())
    (folder / "stat").write_text(stat)
    mount = ["unshare", "--mount", "sh", "-c", 'mount --bind stat /proc/stat && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount another /proc/stat")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([*mount, *command], env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.farm
@pytest.mark.server
@pytest.mark.usefixtures("no_orphans")
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(number, marks=pytest.mark.farm) for number in (signal.SIGTERM, signal.SIGHUP))],
)
def test_interrupt(toy: Toy, inkflow: Inkflow, prefect_url: str, number: signal.Signals) -> None:
    """Ctrl-C: exit code 130, one line, outputs and dvc.lock as before, no process left; the next run completes."""
    toy.write(slow(0.1))
    succeeded(run_engine(jobs=2))
    before = locks(toy.folder)
    toy.write(slow(600))
    with inkflow_process(toy.folder, prefect_url, "--jobs", "2") as process:
        wait_until(lambda: (toy.folder / "slow-p.runs").exists() and toy.runs("slow-p") == 2, timeout_s=60)
        time.sleep(random.Random(number).uniform(0.0, 6.0))
        process.send_signal(number)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 130, out + err
    assert len(errors_of(err)) == 1, err
    assert "Traceback" not in out
    assert locks(toy.folder) == before
    assert toy.read("p") == "p\none\n"
    assert stage_processes(toy.folder) == []
    toy.write(slow(0.2))
    assert inkflow("run", folder=toy.folder).returncode == 0
    assert status() == {}


@pytest.mark.farm
@pytest.mark.server
@pytest.mark.usefixtures("no_orphans")
def test_cancelled_in_prefect(toy: Toy, prefect_url: str) -> None:
    """A run that is cancelled on Prefect's page ends as after Ctrl-C, and its flow run is cancelled."""
    toy.write(slow(600))
    with inkflow_process(toy.folder, prefect_url) as process:
        wait_until(lambda: toy.runs("slow-p") == 1, timeout_s=60)
        run_id = cancel_running_flow(prefect_url, "inkflow")
        out, err = process.communicate(timeout=240)
    assert process.returncode == 130, out + err
    assert api(prefect_url, "GET", f"/flow_runs/{run_id}")["state"]["type"] == "CANCELLED"
    assert stage_processes(toy.folder) == []


def cancel_running_flow(url: str, flow: str) -> str:
    """Waits for a running flow run, cancels it, and returns its id."""
    query = {
        "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
        "flows": {"name": {"any_": [flow]}},
        "sort": "START_TIME_DESC",
    }
    found: list[str] = []

    def find() -> bool:
        found.extend(run["id"] for run in api(url, "POST", "/flow_runs/filter", query))
        return bool(found)

    wait_until(find, timeout_s=60)
    api(url, "POST", f"/flow_runs/{found[0]}/set_state", {"state": {"type": "CANCELLING"}})
    return found[0]


@pytest.mark.server
@pytest.mark.farm
def test_careless_parent(toy: Toy, prefect_url: str) -> None:
    """With closed standard output and SIGCHLD ignored, as some daemons start commands, a failure is a failure."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: echo half > a; exit 7, outs: [a]}\n"})
    start = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    inkflow = [sys.executable, "-m", "flows", "run"]
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", start, *inkflow]
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (7, "error: a failed (exit code 7): it printed no message\n")
    assert not (toy.folder / "dvc.lock").exists()


@pytest.mark.server
@pytest.mark.usefixtures("no_orphans")
@pytest.mark.farm
def test_killed_flow(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """After kill -9 of `inkflow run`, its stages end at the latest with the next run, which completes correctly."""
    toy.write(slow(3))
    with inkflow_process(toy.folder, prefect_url):
        wait_until(lambda: (toy.folder / "slow-p.runs").exists(), timeout_s=60)
    done = inkflow("run", folder=toy.folder)
    assert done.returncode == 0, done.stderr
    assert toy.read("last") == "p\none\nq\none\n"
    assert status() == {}


@pytest.mark.server
@pytest.mark.usefixtures("no_orphans")
@pytest.mark.farm
def test_plan_after_a_kill(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """The outputs that a killed run backed up come back: once the edit is undone, plan and run have nothing to do."""
    toy.write(slow(0.1))
    succeeded(run_engine(jobs=2))
    toy.write(slow(30))
    with inkflow_process(toy.folder, prefect_url):
        wait_until(lambda: toy.runs("slow-p") == 2, timeout_s=60)
    toy.write(slow(0.1))
    planned = inkflow("plan", "--json", folder=toy.folder)
    assert {stage["verdict"] for stage in json.loads(planned.stdout)["stages"]} == {"unchanged"}
    assert "Nothing to do" in inkflow("run", folder=toy.folder).stdout


@pytest.mark.server
@pytest.mark.farm
def test_two_runs_at_once(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A second `inkflow run` in the same folder waits for the stages that the first one runs, and runs none again."""
    toy.write(slow(4))
    with inkflow_process(toy.folder, prefect_url) as first:
        wait_until(lambda: (toy.folder / "first.runs").exists(), timeout_s=60)
        second = inkflow("run", folder=toy.folder)
        assert first.wait(timeout=240) == 0
    assert second.returncode == 0
    assert {name: toy.runs(name) for name in ("first", "slow-p", "slow-q", "last")} == dict.fromkeys(
        ("first", "slow-p", "slow-q", "last"), 1
    )


@pytest.mark.farm
def test_status_during_runs(toy: Toy) -> None:
    """Repeated `dvc status` during 20 parallel runs causes no lock error of a run.

    `dvc status` itself succeeds, or names the running stage that blocks it, as beside `dvc repro`.
    """
    toy.write(slow(0.1))
    watcher = subprocess.Popen(
        ["sh", "-c", WATCHER], cwd=toy.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for round_ in range(20):
            toy.write({"in": f"round {round_}\n"})
            succeeded(run_engine(jobs=4))
    finally:
        (toy.folder / "stop").touch()
        out, _ = watcher.communicate(timeout=240)
    assert watcher.returncode == 0, out
    assert out.splitlines()[-1].startswith("finished ")
    assert status() == {}


WATCHER = """
while ! test -e stop; do
    answer=$(dvc status 2>&1) ||
        case $answer in *"is busy, it is being blocked by"*) ;; *) echo "$answer"; exit 1;; esac
    rounds=x$rounds
done
echo finished $rounds
"""
