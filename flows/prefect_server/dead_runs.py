"""Flow runs that died together with an earlier `inkflow up`, by a power cut or a kill: marked as crashed at its start.

Nobody else can report their end, and until it is known they hold the slot of their deployment.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkerFilter,
    WorkerFilterStatus,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import Event, Resource
from prefect.states import Cancelled, Crashed

from flows.prefect_server.credentials import HOME
from stages.base.files import write_text

WORKER_LABEL = "prefect.worker.name"
STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
PAGE_SIZE = 200
MESSAGE = "its process ended together with `inkflow up`"
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


def find_dead_runs(client: SyncPrefectClient, root: Path, pools: Sequence[str]) -> list[FlowRun]:
    """Returns the unfinished runs of the workers of `inkflow up` in `root`; call it while no such worker runs.

    A run whose worker is unknown, since it died early, is one of them if its pool has no other worker.
    """
    dead = []
    for pool in pools:
        name = worker_name(root, pool)
        online = client.read_workers_for_work_pool(pool, WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"])))
        others = [worker for worker in online if worker.name != name]
        owners = {name} if others else {name, None}
        dead += [run for run in _unfinished_runs(client, pool) if run.labels.get(WORKER_LABEL) in owners]
    return dead


def mark_dead_runs(client: SyncPrefectClient, runs: Sequence[FlowRun]) -> list[str]:
    """Marks those of `runs` whose state is still the same as crashed, or cancelled if that was asked for.

    Returns:
        The names of these runs.
    """
    marked = []
    for run in runs:
        state = client.read_flow_run(run.id).state
        if state is not None and run.state is not None and state.id == run.state.id:
            _release_followers(client, run)
            final: State[Any] = Cancelled(message=MESSAGE) if state.is_cancelling() else Crashed(message=MESSAGE)
            client.set_flow_run_state(run.id, final)
            marked.append(run.name)
    return marked


def _release_followers(client: SyncPrefectClient, run: FlowRun) -> None:
    """Sends an event with the id of the last state's event.

    An event of a state follows that of the state before. A new server has not seen the latter, and would hold back the
    event of the crash, which starts the run again, for 15 minutes.
    """
    assert run.state is not None
    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name})
    event = Event(id=run.state.id, event="inkflow.run.died", resource=resource)
    client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


def _unfinished_runs(client: SyncPrefectClient, pool: str) -> list[FlowRun]:
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=STATES))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        limit=PAGE_SIZE,
        offset=len(runs),
    ):
        runs += page
    return runs
