"""This project's own graph on a machine with faults: runs end right or say why not, and the next one ends right."""

import os
import random
from pathlib import Path

import pytest

from tests.torture.conftest import RECORD, Rounds, Try
from tests.torture.support.campaigns import (
    FAULTS,
    NEEDS,
    RIGHT,
    STAGES,
    SUBJECT,
    is_kill,
    missed_faults,
    possible_faults,
    try_plans,
)
from tests.torture.support.crash_project import MODELS, make_projects
from tests.torture.support.kills import Plan
from tests.torture.support.machine_faults import full_disk

STARVED = (
    "While the disk is full, a folder is read-only, or memory, open files or the size of files are limited, a run ends "
    "right, with one sentence and an exit code that is not 0, or, without memory, by an abort of a library, as by a "
    f"kill; also after a jump of the clock by a day, {RIGHT}"
)
FEW: Plan = {"prepare": ["disk_full"]}


@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(7200)  # on a slow machine
def test_faults(tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Faults of the machine at random moments in every stage; then all checks after the next run."""
    is_thorough = RECORD in os.environ
    models = MODELS if is_thorough else {"dense": MODELS["dense"]}
    with promise(SUBJECT, STARVED, "at random moments") as tried:
        project = make_projects(tmp_path / "made", models, with_earlier=is_thorough)
        plans = [faults(number) for number in range(rounds(0, len(FAULTS) // 2))] or [FEW]
        done = try_plans(tried, project, tmp_path, plans)
        with tried.verdict("the faults that were planned"):
            met = {stage for name, stage in done if not is_kill(name)}
            assert not is_thorough or met >= set(STAGES), f"no fault in {set(STAGES) - met}"
            missed = missed_faults(done, tmp_path)
            assert not is_thorough or not missed, f"possible here, and not met in any stage: {missed}"


@pytest.mark.parametrize("fault", NEEDS)
def test_faults_that_need_rights(tmp_path: Path, fault: str) -> None:
    """The faults that not every user can have are tried here, or a skipped test names them."""
    if fault not in possible_faults(tmp_path):
        pytest.skip(f"{fault} needs {NEEDS[fault]}, which this user may not use or this machine does not have")


def test_only_a_small_disk_is_filled(tmp_path: Path) -> None:
    """Where the small disk is not mounted, nothing fills the disk of the machine."""
    with pytest.raises(AssertionError, match="not on a small disk"), full_disk(tmp_path, random.Random(0)):
        pass
    assert list(tmp_path.iterdir()) == []


def faults(number: int) -> Plan:
    """Returns two faults for each stage; three such plans have each fault in each stage once."""
    shifts = (number, number + len(FAULTS) // 2)
    return {stage: [FAULTS[(at + shift) % len(FAULTS)] for shift in shifts] for at, stage in enumerate(STAGES)}
