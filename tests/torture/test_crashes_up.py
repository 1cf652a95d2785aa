"""`inkflow up` and what it starts, killed at random moments of a run of this project's own graph."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flows.engine.processes.command_runner import MARK
from tests.conftest import wait_until
from tests.support.up_process import Up, is_worker, running_up
from tests.torture.conftest import Rounds, Try
from tests.torture.promises import Promise
from tests.torture.support.campaigns import RIGHT, SUBJECT
from tests.torture.support.crash_project import MODELS, CrashProject, make_projects, processes
from tests.torture.support.kills import counts, running_stages
from tests.torture.support.quick_check import QuickCheck

KILLED = f"After kill -9 of the worker, the server, a run or all of `inkflow up` while stages run, {RIGHT}"
NIGHTLY = """
deployments:
  - name: nightly
    entrypoint: flows.scheduled.scheduled
    work_pool: {name: local}
"""
VICTIMS = ("worker", "server", "run", "worker", "run")
ACTIVE = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]
PAUSE_S = 4.0  # at most, on a quiet machine
TRIES = 5  # of a kill: what it is to kill may have ended after the pause


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(3600)
def test_kills_of_up(tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Kills of each process of `inkflow up` at random moments; then all checks after the next run."""
    project = make_projects(tmp_path / "made", {"dense": MODELS["dense"]}, with_earlier=False)
    with promise(SUBJECT, KILLED, "") as tried:
        done: Counter[tuple[str, str]] = Counter()
        for seed in range(rounds(1, 2)):
            killed: Counter[tuple[str, str]] = Counter()
            with tried.verdict(f"seed {seed}"):
                folder = tmp_path / f"up-{seed}"
                _kill_in_up(project.copy(folder), tmp_path / f"{seed}.log", random.Random(seed), killed, tried)
                spared = {*VICTIMS, "up"} - {victim for victim, _ in killed}
                assert not spared, f"not killed: {spared}"
                shutil.copyfile(project.folder / "prefect.yaml", folder / "prefect.yaml")
                flaws = replace(project, folder=folder).flaws("--force")
                assert not flaws, flaws
            done += killed
        tried.how = (
            f"at random moments: {counts(done)}; cache and dvc.lock checked after each, everything after all kills "
            "of one `inkflow up`"
        )


def _kill_in_up(
    project: CrashProject, log: Path, chance: random.Random, killed: Counter[tuple[str, str]], tried: Promise
) -> None:
    """Runs `inkflow up` and a deployed run, kills one process after another, and at last `inkflow up` itself.

    `killed` counts the kills, by the process and the stage that ran; each is an attempt of `tried`.
    """
    check = QuickCheck(project.folder)
    (project.folder / "prefect.yaml").write_text(NIGHTLY)
    with running_up(project.folder, log, DVC_SITE_CACHE_DIR=f"{project.folder}.site") as up:
        for victim in [*chance.sample(VICTIMS, len(VICTIMS)), "up"]:
            killed[victim, _kill_while_a_stage_runs(up, project, victim, chance)] += 1
            with tried.attempt(f"{project.folder.name}, {victim}"):
                flaws = check.flaws(is_over=False)
                assert not flaws, flaws


def _kill_while_a_stage_runs(up: Up, project: CrashProject, victim: str, chance: random.Random) -> str:
    """Kills a process at a random moment after a stage began; returns the kind of the stage that then ran."""
    for number in range(TRIES):
        _wait_for_a_stage(up, project)
        time.sleep(chance.uniform(0, PAUSE_S) * project.slowness / 2**number)  # the run may have ended before
        running = running_stages(project.folder)
        if _kill(up, victim):
            return running[0] if running else "between stages"
    raise AssertionError(f"in {TRIES} tries no process was there to kill: {victim}")


def _wait_for_a_stage(up: Up, project: CrashProject) -> None:
    """Waits for a stage of a living run, not one that a killed run left; starts a run if there is none."""
    wait_until(lambda: _responds(up), timeout_s=300)

    def find() -> bool:
        found = bool(running_stages(project.folder)) and any(True for _ in _engines(up))
        if not found and not up.post("/flow_runs/count", flow_runs={"state": {"type": {"any_": ACTIVE}}}):
            up.start("inkflow/nightly", force=(project.folder / "reports/index.html").exists())  # else nothing runs
        return found

    wait_until(find, timeout_s=300)


def _responds(up: Up) -> bool:
    with suppress(Exception):
        return up.count_runs().is_success
    return False


def _kill(up: Up, victim: str) -> bool:
    """Kills a process; returns whether there was one."""
    if victim == "up":
        up.process.kill()
        return True
    for process in psutil.Process(up.process.pid).children(recursive=True) if victim != "run" else _engines(up):
        with suppress(psutil.Error):
            if victim == "run" or (is_worker(process) if victim == "worker" else "uvicorn" in process.cmdline()):
                process.kill()
                return True
    return False


def _engines(up: Up) -> Iterator[psutil.Process]:
    """Yields the processes of the runs, which the mark of each stage's processes names."""
    for process in processes(up.folder):
        with suppress(psutil.Error):
            if mark := process.environ().get(MARK):
                yield psutil.Process(int(mark.partition("@")[0]))
