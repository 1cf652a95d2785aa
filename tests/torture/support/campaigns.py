"""Campaigns of kills and faults against this project's own graph, and what they have to leave."""

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.torture.promises import Promise
from tests.torture.support.crash_project import CrashProject
from tests.torture.support.kills import KILLED_PROCESSES, Campaign, Plan, counts
from tests.torture.support.machine_faults import Clock, can_be_read_only, small_disk

SUBJECT = "Crashes and full machines"
RIGHT = (
    "the next `inkflow run` ends right: all files have the bytes of an undisturbed run, `dvc status` is clean, nothing "
    "runs, is locked or left behind, and the MD5 of each object of the cache is its name."
)
STAGES = ("validate", "download", "prepare", "train", "evaluate", "report")
FAULTS = ("disk_full", "read_only", "open_files", "memory", "file_size", "clock")
NEEDS = {"disk_full": "mount", "read_only": "chattr +i", "clock": "a C compiler"}  # and the rights for them
TOGETHER = 2  # as many as the smallest machine has cores
Done = Counter[tuple[str, str]]


def try_plans(tried: Promise, project: CrashProject, scratch: Path, plans: Sequence[Plan]) -> Done:
    """Carries out each plan on a copy of the project, then all checks; returns what was done in which stage."""
    with ExitStack() as disks:
        campaigns = [_campaign(project, scratch, seed, plan, disks) for seed, plan in enumerate(plans)]
        with ThreadPoolExecutor(TOGETHER) as pool:
            flaws = list(pool.map(_disturb, campaigns))
    done: Done = Counter()
    for campaign, flaw in zip(campaigns, flaws, strict=True):
        done += campaign.done
        tried.count(max(0, campaign.done.total() - 1))
        with tried.attempt(campaign.project.folder.name):
            assert not flaw, flaw
    skipped = sorted({name for campaign in campaigns for name in campaign.skipped})
    missing = f"; not here: {', '.join(f'{name} ({NEEDS[name]})' for name in skipped)}" if skipped else ""
    tried.how = f"at random moments: {counts(done)}{missing}"
    return done


def possible_faults(scratch: Path) -> list[str]:
    """Returns the faults that this user can have here."""
    with small_disk(scratch / "probe") as is_mounted:
        can = {"disk_full": is_mounted, "read_only": can_be_read_only(scratch / "probe"), "clock": shutil.which("cc")}
    (scratch / "probe").rmdir()
    return [fault for fault in FAULTS if can.get(fault, True)]


def is_kill(name: str) -> bool:
    """Returns whether what was done is a kill of a process, not a fault of the machine."""
    return name in KILLED_PROCESSES


def _disturb(campaign: Campaign) -> str:
    """Disturbs a project; returns everything that was not right."""
    campaign.disturb()
    return "\n".join([*campaign.problems, campaign.project.flaws()]).strip()


def _campaign(project: CrashProject, scratch: Path, seed: int, plan: Plan, disks: ExitStack) -> Campaign:
    """Returns a campaign, on a small disk of its own if it has faults of the machine."""
    planned = {name for names in plan.values() for name in names}
    folder, clock, skipped = scratch / f"seed-{seed}", None, frozenset[str]()
    if planned & set(FAULTS):
        possible = possible_faults(scratch)
        skipped = frozenset(planned & set(FAULTS) - set(possible))
        is_mounted = disks.enter_context(small_disk(folder))
        assert is_mounted or "disk_full" in skipped, f"no small disk could be mounted at {folder}"
        folder /= folder.name
        clock = Clock(scratch / f"clock-{seed}") if "clock" in planned - skipped else None
    plan = {stage: [name for name in names if name not in skipped] for stage, names in plan.items()}
    return Campaign(project.copy(folder), plan, random.Random(seed), clock, skipped)
