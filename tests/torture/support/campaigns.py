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
RIGHT = "the next `inkflow run` is correct."
STAGES = ("validate", "download", "prepare", "train", "evaluate", "report")
FAULTS = ("disk_full", "read_only", "open_files", "memory", "file_size", "clock")
COUNTED_AS = {fault: fault.replace("_", " ") for fault in FAULTS} | {"read_only": "read-only"}  # is in their names
NEEDS = {"disk_full": "mount", "read_only": "chattr +i", "clock": "a C compiler"}  # and the rights for them
TOGETHER = 2  # as many as the smallest machine has cores
Done = Counter[tuple[str, str]]


def try_plans(tried: Promise, project: CrashProject, scratch: Path, plans: Sequence[Plan]) -> Done:
    """Carries out each plan on a copy of the project, then all checks; returns what was done in which stage.

    What is wrong with a disturbed run or after it breaks one attempt; so does what the checks after a plan find.
    """
    with ExitStack() as disks:
        campaigns = [_campaign(project, scratch, seed, plan, disks) for seed, plan in enumerate(plans)]
        with ThreadPoolExecutor(TOGETHER) as pool:
            flaws = list(pool.map(_disturb, campaigns))
    done: Done = Counter()
    ends: Counter[str] = Counter()
    judged = 0
    for campaign, flaw in zip(campaigns, flaws, strict=True):
        judged += campaign.judged
        done += campaign.done
        ends += campaign.ends
        tried.count(campaign.done.total())
        for text in filter(None, [*campaign.flaws, flaw]):
            with tried.verdict(campaign.project.folder.name):
                raise AssertionError(text)
    skipped = sorted({name for campaign in campaigns for name in campaign.skipped})
    missing = f"; not here: {', '.join(f'{name} ({NEEDS[name]})' for name in skipped)}" if skipped else ""
    tried.how = (
        f"at random moments of {ends.total()} runs: {counts(done)}{missing}; the runs ended {_listed(ends)}; cache and "
        "dvc.lock checked after each run, processes after each that was not killed, bytes and `dvc status` after each "
        f"right one, {everything(judged, len(plans))}"
    )
    return done


def everything(copies: int, ends: int) -> str:
    """Returns how often everything was checked after a run without `--force`, as text."""
    return f"everything after {copies + ends} plain runs: {copies} in copies at random, {ends} at the end"


def possible_faults(scratch: Path) -> list[str]:
    """Returns the faults that this user can have here."""
    with small_disk(scratch / "probe") as is_mounted:
        can = {"disk_full": is_mounted, "read_only": can_be_read_only(scratch / "probe"), "clock": shutil.which("cc")}
    (scratch / "probe").rmdir()
    return [fault for fault in FAULTS if can.get(fault, True)]


def missed_faults(done: Done, scratch: Path) -> list[str]:
    """Returns the faults that this user can have here and that are not among what was done."""
    return [name for name in possible_faults(scratch) if not any(COUNTED_AS[name] in what for what, _ in done)]


def is_kill(name: str) -> bool:
    """Returns whether what was done is a kill of a process, not a fault of the machine."""
    return name in KILLED_PROCESSES


def _listed(ends: Counter[str]) -> str:
    return ", ".join(f"{how} {count}" for how, count in sorted(ends.items()))


def _disturb(campaign: Campaign) -> str:
    """Disturbs a project; returns everything that was not right then, and after a plain and a forced run."""
    campaign.disturb()
    return "\n".join([*campaign.problems, campaign.project.last_flaws(after_force=campaign.is_forced)]).strip()


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
