"""Makes the runs, prunes as a person does, and measures after each run."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.conftest import wait_until
from tests.support.up_process import Up, environment, running_up
from tests.torture.long_run.project import DEPLOYMENT, Changes, make_project
from tests.torture.long_run.usage import disk, pace, processes

PRUNE_EVERY = 10  # runs
PRUNE_AGE = "0"  # all that `inkflow prune` may remove: what it leaves is all that can grow
FAST = {  # what Prefect does by itself, as often as the prune: a week of events is a few runs here
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "PT20S",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "15",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "20",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}
RUN_S = 300.0  # a run that takes longer hangs
SETTLE_S = 60.0
POLL_S = 0.5  # each poll takes the server 10 ms
ENDS = ("Completed", "Failed", "Crashed", "Cancelled")

Row = dict[str, Any]


def make_runs(folder: Path, count: int, seed: int, prune_every: int = PRUNE_EVERY) -> Iterator[Row]:
    """Makes runs in a new project in `folder` with an `inkflow up` of its own; yields what is used after each.

    A row with `pruned` is measured after a prune, which follows each `prune_every` runs.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    changes = Changes(toy := make_project(folder / "toy"), seed)
    with running_up(toy.folder, folder / "up.log", TMPDIR=str(temporary), **FAST) as up:
        started, before = time.monotonic(), processes(up)["cpu_s"]
        for number in range(1, count + 1):
            kind, parameters = changes.make()
            row = {"run": number, "kind": kind, "pruned": False, "prune_s": None, **_run(up, parameters)}
            if number % prune_every == 0:
                row |= {"pruned": True, "prune_s": _prune(up, temporary)}
                wait_until(lambda: processes(up)["forks"] == 0, timeout_s=SETTLE_S)
            usage = processes(up)
            row |= usage | disk(up, temporary) | pace()
            row |= {"run_cpu_s": usage["cpu_s"] - before, "at_s": time.monotonic() - started}
            before = usage["cpu_s"]
            yield row


def _run(up: Up, parameters: dict[str, Any]) -> Row:
    """Makes a run, and returns how long it took.

    Raises:
        AssertionError: The run did not complete.
    """
    created = time.monotonic()
    run = up.start(DEPLOYMENT, push=False, **parameters)
    end = created + RUN_S
    while up.state(run) not in ENDS and time.monotonic() < end:
        time.sleep(POLL_S)
    ended = time.monotonic()
    assert up.state(run) == "Completed", f"{up.get(f'/flow_runs/{run}')['state']}\n" + "\n".join(up.lines(run))
    states = up.get(f"/flow_run_states/?flow_run_id={run}")
    times = {state["type"]: datetime.fromisoformat(state["timestamp"]) for state in states}
    return {"created_to_end_s": ended - created, "run_s": (times["COMPLETED"] - times["PENDING"]).total_seconds()}


def _prune(up: Up, temporary: Path) -> float:
    """Runs `inkflow prune` beside the server, and returns how long it took."""
    command = [sys.executable, "-m", "flows", "prune", "--older-than", PRUNE_AGE]
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=up.folder, env=environment(TMPDIR=str(temporary)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "could not" not in done.stdout, done.stdout + done.stderr
    return time.monotonic() - started
