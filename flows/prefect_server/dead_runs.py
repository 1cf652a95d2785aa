"""Flow runs that ended together with an earlier `inkflow up`: its next start marks them as crashed.

No other process can report their end, and until it is known they hold the slot of their deployment. A stop of `inkflow
up` ends its runs as a kill or a power cut does, but the message of their state tells the stop from a crash.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkerFilter,
    WorkerFilterStatus,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import Event, Resource
from prefect.states import AwaitingRetry, Cancelled, Crashed

from flows.prefect_server.crashes import SILENT
from flows.prefect_server.credentials import HOME
from stages.base.files import write_text

WORKER_LABEL = "prefect.worker.name"
STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
PAGE_SIZE = 200
RETRY_FLOW = "retry-crashed"
ID_FILE = "worker-id"  # in HOME
MACHINE_ID = Path("/etc/machine-id")  # differs where a folder was copied together with its id


def worker_name(root: Path, pool: str) -> str:
    """Returns the name of the worker of `pool` under `inkflow up` in `root`, which no other machine or folder has.

    It is the same at each start, also in a new container with the same folder, whose host name differs.

    Raises:
        OutputError: The id of the folder cannot be written.
    """
    machine = b""
    with suppress(OSError):
        machine = MACHINE_ID.read_bytes().strip()
    parts = (_read_or_create_id(root / HOME / ID_FILE).encode(), machine, os.fsencode(root))
    return f"{pool} of up {hashlib.sha256(b'//'.join(parts)).hexdigest()[:12]}"


def _read_or_create_id(path: Path) -> str:
    """Returns the random id in the file `path`; writes it if the file is missing or damaged."""
    with suppress(OSError, UnicodeDecodeError):
        if re.fullmatch(r"[0-9a-f]{32}", text := path.read_text(encoding="utf-8").strip()):
            return text
    text = secrets.token_hex(16)
    write_text(path, f"{text}\n")
    return text


def find_dead_runs(client: SyncPrefectClient, root: Path, pools: Sequence[str], since: datetime) -> list[FlowRun]:
    """Returns the unfinished runs of the workers of `inkflow up` in `root`; call it while no such worker runs.

    A run whose worker is unknown, since it died early, is one of them if its pool has no other worker. The automation
    for missing heartbeats may have marked some of them already, since the server started at the time `since`.
    """
    unfinished = FlowRunFilter(state=_in_states(STATES))
    marked = FlowRunFilter(state=_in_states([StateType.CRASHED]), end_time=FlowRunFilterEndTime(after_=since))
    dead = []
    for pool in pools:
        name = worker_name(root, pool)
        online = client.read_workers_for_work_pool(pool, WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"])))
        others = [worker for worker in online if worker.name != name]
        owners = {name} if others else {name, None}
        found = _read_runs(client, pool, unfinished) + list(filter(_is_silent, _read_runs(client, pool, marked)))
        dead += [run for run in found if run.labels.get(WORKER_LABEL) in owners]
    return dead


def _is_silent(run: FlowRun) -> bool:
    """Returns True if the automation for missing heartbeats has marked the run."""
    return run.state is not None and run.state.is_crashed() and run.state.message == SILENT


def mark_dead_runs(client: SyncPrefectClient, runs: Sequence[FlowRun], message: str) -> list[str]:
    """Marks those of `runs` that have not changed as crashed, or cancelled if that was asked for.

    A run of `retry-crashed` is no crash to tell of: it starts again by itself, as no other run would retry its retry.

    Returns:
        The names of the marked runs.
    """
    marked = []
    for run in runs:
        now = client.read_flow_run(run.id)
        if now.state is None or run.state is None or (now.state.id != run.state.id and not _is_silent(now)):
            continue
        _release_followers(client, run)
        final: State[Any] = Cancelled(message=message) if now.state.is_cancelling() else Crashed(message=message)
        if not now.state.is_cancelling() and client.read_flow(run.flow_id).name == RETRY_FLOW:
            final = AwaitingRetry(scheduled_time=datetime.now(UTC), message=message)
        client.set_flow_run_state(run.id, final, force=_is_silent(now))
        marked.append(run.name)
    return marked


def _release_followers(client: SyncPrefectClient, run: FlowRun) -> None:
    """Sends events with the ids of the last two states' events.

    An event of a state follows that of the state before. A new server has not seen the latter, and would hold back the
    event of the crash, which starts the run again, for 15 minutes.
    """
    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name})
    states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)[-2:]
    events = [Event(id=state.id, event="inkflow.run.died", resource=resource) for state in states]
    client.request("POST", "/events", json=[event.model_dump(mode="json") for event in events]).raise_for_status()


def _in_states(types: list[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=types))


def _read_runs(client: SyncPrefectClient, pool: str, selected: FlowRunFilter) -> list[FlowRun]:
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_run_filter=selected,
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        limit=PAGE_SIZE,
        offset=len(runs),
    ):
        runs += page
    return runs
