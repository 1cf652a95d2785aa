"""This project's own graph, killed at random moments: the next run ends as if nothing had happened."""

import os
from pathlib import Path

import pytest

from tests.torture.conftest import RECORD, Rounds, Try
from tests.torture.support.campaigns import RIGHT, STAGES, SUBJECT, is_kill, try_plans
from tests.torture.support.crash_project import MODELS, CrashProject, make_projects
from tests.torture.support.kills import Plan

KILLED = f"After kill -9 of a run, of a stage's process, of a process that it started or of the fork server, {RIGHT}"
KILLS: Plan = {  # of one of several campaigns in `make torture`: most where a run is short; `stage` kills all models
    "validate": [*5 * ["flow"], "stage", "grandchild"],
    "download": [*4 * ["flow"], "stage", "fork_server"],
    "prepare": [*2 * ["flow"], "stage", "fork_server"],
    "train": [*2 * ["flow"], *3 * ["stage"], "fork_server"],
    "evaluate": ["flow", *3 * ["stage"], "grandchild"],
    "report": [*2 * ["flow"], "stage", "fork_server"],
}
FEW: Plan = {"download": ["flow"], "prepare": ["disk_full"], "train": ["stage"]}  # `make test-farm` has one fault too
CAMPAIGNS = 6  # in `make torture`: each has more than 50 kills
AT_LEAST = 300  # kills in `make torture`


@pytest.fixture(scope="module")
def crash_project(tmp_path_factory: pytest.TempPathFactory) -> CrashProject:
    """The project before its disturbed runs: with the outputs of other parameters in `make torture`."""
    is_thorough = RECORD in os.environ
    models = MODELS if is_thorough else {"dense": MODELS["dense"]}
    return make_projects(tmp_path_factory.mktemp("crash"), models, with_earlier=is_thorough)


@pytest.mark.slow
@pytest.mark.timeout(7200)  # on a slow machine
@pytest.mark.farm
def test_kills(crash_project: CrashProject, tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Kills at random moments in every stage, in `make test-farm` a full disk too; all checks after the next run."""
    plans = rounds(0, CAMPAIGNS) * [KILLS] or [FEW]
    with promise(SUBJECT, KILLED, "kill -9 at random moments") as tried:
        done = try_plans(tried, crash_project, tmp_path, plans)
        with tried.verdict("the kills that were planned"):
            assert not rounds(0, 1) or all(is_kill(name) for name, _ in done), done
            assert done.total() >= rounds(2, AT_LEAST), f"{done.total()} kills: {done}"
            met = {stage for _, stage in done}
            assert not rounds(0, 1) or met >= set(STAGES), f"no kill in {set(STAGES) - met}"
            met = {stage for name, stage in done if name == "fork server"}
            assert len(met) >= rounds(0, 2), f"kills of the fork server only in {met}"
