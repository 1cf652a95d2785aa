"""`inkflow up` and what it starts, killed at random moments of a run of this project's own graph."""

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from flows.engine.processes.command_runner import MARK
from tests.conftest import wait_until
from tests.support.up_process import Up, is_worker, running_up
from tests.torture.conftest import Rounds, Try
from tests.torture.promises import Promise
from tests.torture.support.campaigns import RIGHT, STAGES, SUBJECT, everything
from tests.torture.support.crash_project import MODELS, CrashProject, make_projects
from tests.torture.support.kills import STAGE_S, counts, running_stages
from tests.torture.support.leftovers import processes
from tests.torture.support.quick_check import QuickCheck

KILLED = f"After kill -9 of the worker, the server, a run or all of `inkflow up` while stages run, {RIGHT}"
NIGHTLY = b"""
deployments:
  - name: nightly
    entrypoint: flows.scheduled.scheduled
    work_pool: {name: local}
"""
VICTIMS = ("worker", "server", "run", "worker", "run")
ACTIVE = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]
DEAD_S = 30.0  # without a stage, on a quiet machine: the server waits longer for a heartbeat of a killed run
TRIES = 5  # of a kill: what it is to kill may have ended after the pause


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(3600)
def test_kills_of_up(tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Kills of each process of `inkflow up` at random moments of each stage; then all checks after the next run."""
    project = make_projects(tmp_path / "made", {"dense": MODELS["dense"]}, with_earlier=False)
    project = replace(project, expected={**project.expected, "prefect.yaml": hashlib.sha256(NIGHTLY).hexdigest()})
    with promise(SUBJECT, KILLED, "") as tried:
        done: Counter[tuple[str, str]] = Counter()
        for seed in range(rounds(1, 2)):
            up_kills = UpKills(project.copy(tmp_path / f"up-{seed}"), random.Random(seed), tried)
            with tried.verdict(f"seed {seed}"):
                up_kills.make(tmp_path / f"{seed}.log")
                flaws = up_kills.project.last_flaws(after_force=up_kills.is_forced)
                assert not flaws, flaws
            done += up_kills.done
        with tried.verdict("the stages that were planned"):
            met = {kind for _, stages in done for kind in stages.split("/")}
            assert not rounds(0, 1) or met & {"train", "evaluate"}, done
        projects = rounds(1, 2)
        tried.how = (
            f"at random moments of each stage: {counts(done)}; cache and dvc.lock checked after each, "
            f"{everything(projects, projects)}"
        )


@dataclass
class UpKills:
    """Kills of the processes of one `inkflow up`.

    Attributes:
        done: the kills, by the process and the stage that ran; each is an attempt of `tried`.
        is_forced: a run was started with `--force`.
    """

    project: CrashProject
    chance: random.Random
    tried: Promise
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    is_forced: bool = False

    def make(self, log: Path) -> None:
        """Runs `inkflow up` and deployed runs, kills one process after another, and at last `inkflow up` itself.

        After one kill, at random, a plain run follows in a copy of the project, and everything is looked at.
        """
        folder = self.project.folder
        check = QuickCheck(folder)
        (folder / "prefect.yaml").write_bytes(NIGHTLY)
        victims = [*self.chance.sample(VICTIMS, len(VICTIMS)), "up"]
        stages = self.chance.sample(STAGES, len(victims))
        judged = self.chance.randrange(len(victims))
        with running_up(folder, log, DVC_SITE_CACHE_DIR=f"{folder}.site") as up:
            for number, (victim, stage) in enumerate(zip(victims, stages, strict=True)):
                self.done[victim, self._kill_in_stage(up, victim, stage)] += 1
                with self.tried.attempt(f"{folder.name}, {victim}"):
                    flaws = check.flaws(is_over=False)
                    assert not flaws, flaws
                    flaws = self.project.flaws_of_copy(after_force=self.is_forced) if number == judged else ""
                    assert not flaws, flaws

    def _kill_in_stage(self, up: Up, victim: str, stage: str) -> str:
        """Kills a process at a random moment after the stage began; returns the kind of the stage that then ran."""
        for number in range(TRIES):
            self._wait_for(up, stage)
            time.sleep(self.chance.uniform(0, STAGE_S[stage]) * self.project.slowness / 2**number)  # it may end before
            running = self._running(up)
            if running is not None and _kill(up, victim):
                return "/".join(running) or "between stages"
        raise AssertionError(f"in {TRIES} tries no process was there to kill: {victim}")

    def _running(self, up: Up) -> list[str] | None:
        """Returns the kinds of the stages of a living run; None without one."""
        with suppress(psutil.Error):
            begins = [engine.create_time() for engine in _engines(up)]
            return running_stages(self.project.folder, min(begins)) if begins else None
        return None

    def _wait_for(self, up: Up, stage: str) -> None:
        """Waits for a stage of a living run, not one that a killed run left; starts runs until there is one."""
        wait_until(lambda: _responds(up), timeout_s=300)
        latest_s = time.monotonic()  # of a living run, or the start of one

        def find() -> bool:
            nonlocal latest_s
            running = self._running(up)
            if running is not None:
                latest_s = time.monotonic()
                return stage in running
            is_dead = time.monotonic() - latest_s > DEAD_S * self.project.slowness
            if is_dead or not up.post("/flow_runs/count", flow_runs={"state": {"type": {"any_": ACTIVE}}}):
                latest_s = time.monotonic()
                lock = self.project.folder / "dvc.lock"
                is_made = lock.exists() and f"\n  {stage}" in lock.read_text()
                self.is_forced = self.is_forced or is_made
                up.start("inkflow/nightly", force=is_made)  # else the stage would not run
            return False

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
