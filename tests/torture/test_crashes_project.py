"""This project's own graph, killed and starved at random moments: the next run ends as if nothing had happened."""

import os
import random
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.torture.conftest import RECORD, Rounds, Try
from tests.torture.support.crash_project import MODELS, CrashProject, make_projects
from tests.torture.support.kills import KILLED_PROCESSES, Campaign, Plan, counts
from tests.torture.support.machine_faults import Clock, can_be_read_only, small_disk

SUBJECT = "Crashes and full machines"
RIGHT = (
    "the next `inkflow run` ends right: all files have the bytes of an undisturbed run, `dvc status` is clean, nothing "
    "runs, is locked or left behind, and the MD5 of each object of the cache is its name."
)
KILLED = f"After kill -9 of a run, of a stage's process, of a process that it started or of the fork server, {RIGHT}"
STARVED = (
    "While the disk is full, a folder is read-only, or memory, open files or the size of files are limited, a run ends "
    f"right, or with one sentence and an exit code that is not 0; also after a jump of the clock by a day, {RIGHT}"
)
STAGES = ("validate", "download", "prepare", "train", "evaluate", "report")
KILLS: Plan = {  # of one of several campaigns in `make torture`; a `stage` kills the processes of all models
    "validate": [*4 * ["flow"], "stage"],
    "download": [*4 * ["flow"], "stage"],
    "prepare": [*3 * ["flow"], "stage"],
    "train": [*2 * ["flow"], *3 * ["stage"], "fork_server", "grandchild"],
    "evaluate": [*2 * ["flow"], *2 * ["stage"]],
    "report": [*3 * ["flow"], *2 * ["stage"], "grandchild"],
}
FAULTS = ("disk_full", "read_only", "open_files", "memory", "file_size", "clock")
FEW: Plan = {"download": ["disk_full", "flow"], "prepare": ["read_only", "open_files"], "train": ["stage"]}
CAMPAIGNS = 6  # of kills in `make torture`: each has more than 50
TOGETHER = 2  # as many as the smallest machine has cores


@pytest.fixture(scope="module")
def crash_project(tmp_path_factory: pytest.TempPathFactory) -> CrashProject:
    """The project before its disturbed runs: with the outputs of other parameters in `make torture`."""
    is_thorough = RECORD in os.environ
    models = MODELS if is_thorough else {"dense": MODELS["dense"]}
    return make_projects(tmp_path_factory.mktemp("crash"), models, with_earlier=is_thorough)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_and_faults(crash_project: CrashProject, tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Kills and faults of the machine at random moments in every stage; then all checks after the next run."""
    plans = [*rounds(0, CAMPAIGNS) * [KILLS], *map(_faults, range(rounds(0, len(FAULTS))))] or [FEW]
    with promise(SUBJECT, KILLED, "") as killed, promise(SUBJECT, STARVED, "") as starved, ExitStack() as disks:
        campaigns = [_campaign(crash_project, tmp_path, seed, plan, disks) for seed, plan in enumerate(plans)]
        with ThreadPoolExecutor(TOGETHER) as pool:
            flaws = list(pool.map(_disturb, campaigns))
        for tried, is_tried in ((killed, KILLED_PROCESSES.__contains__), (starved, _is_fault)):
            done: Counter[tuple[str, str]] = Counter()
            for campaign, flaw in zip(campaigns, flaws, strict=True):
                found = Counter({key: count for key, count in campaign.done.items() if is_tried(key[0])})
                if found:
                    done += found
                    tried.count(found.total() - 1)
                    with tried.attempt(campaign.project.folder.name):
                        assert not flaw, flaw
            tried.how = f"at random moments: {counts(done)}"


@pytest.mark.parametrize("fault", ["disk_full", "read_only", "clock"])
def test_faults_that_need_rights(tmp_path: Path, fault: str) -> None:
    """The faults that not every user can have are tried here, or a skipped test names them."""
    if fault not in _possible(tmp_path):
        pytest.skip(f"{fault}: this user may not do it here, or a program is missing (mount, chattr, cc)")


def _disturb(campaign: Campaign) -> str:
    """Disturbs a project; returns everything that was not right."""
    campaign.disturb()
    return "\n".join([*campaign.problems, campaign.project.flaws()]).strip()


def _is_fault(name: str) -> bool:
    return name not in KILLED_PROCESSES


def _faults(number: int) -> Plan:
    """Returns two faults for each stage; six such plans have each fault in each stage twice."""
    shifts = (number, number + len(FAULTS) // 2)
    return {stage: [FAULTS[(at + shift) % len(FAULTS)] for shift in shifts] for at, stage in enumerate(STAGES)}


def _campaign(project: CrashProject, scratch: Path, seed: int, plan: Plan, disks: ExitStack) -> Campaign:
    """Returns a campaign, on a small disk of its own if it has faults of the machine."""
    possible = [*_possible(scratch), "flow", "stage", "grandchild", "fork_server"]
    plan = {stage: [name for name in names if name in possible] for stage, names in plan.items()}
    folder, clock = scratch / f"seed-{seed}", None
    if any(name in FAULTS for names in plan.values() for name in names):
        disks.enter_context(small_disk(folder))
        folder /= folder.name
        clock = Clock(scratch / f"clock-{seed}") if "clock" in possible else None
    return Campaign(project.copy(folder), plan, random.Random(seed), clock)


def _possible(scratch: Path) -> list[str]:
    """Returns the faults that this user can have here."""
    with small_disk(scratch / "probe") as is_mounted:
        can = {"disk_full": is_mounted, "read_only": can_be_read_only(scratch / "probe"), "clock": shutil.which("cc")}
    (scratch / "probe").rmdir()
    return [fault for fault in FAULTS if can.get(fault, True)]
