"""Dispatches stages to Prefect work pools: each stage is a run of the deployment `train-stage/<pool>`, as a sub-run.

    Dispatcher.run ── run_deployment ──> Scheduled ── a worker starts it ──> Running ── reports ──> Completed, Failed
                            ^                                                   │
                            └───────── no heartbeat: Crashed, sent again ───────┘

`run_monitor` polls the server for the states of the runs. An unreachable server is retried for a while.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import uuid4

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.core.errors import Interrupted, PoolFailed, PoolUnusable
from flows.core.values import counted
from flows.engine.policy import Workers
from flows.workers.order import Order
from flows.workers.run_monitor import MAX_OUTAGE_S, POLL_S, RunMonitor, SubRun
from flows.workers.stage_report import ExitStatus, Report
from stages.base.errors import InkflowError

FLOW = "train-stage"  # its deployments are named train-stage/<pool>


class WorkerLost(Exception):
    """The worker of a run has stopped without a result."""


class Dispatcher:
    """Sends stages to work pools and waits for their results, for one run of the flow."""

    def __init__(self, workers: Workers, server: str) -> None:
        """Create a dispatcher, inside the run of the flow.

        Args:
            workers: settings that hold for the workers of all pools.
            server: URL of the Prefect server's API.
        """
        self._workers = workers
        self._server = server
        self._context = copy_context()  # of the flow run, so that the runs it sends are its sub-runs
        self._client = get_client(sync_client=True)
        self._monitor = RunMonitor(self._client, workers)
        self._send_lock = threading.Lock()

    def run(self, order: Order, pool: str, log: Callable[[str], None], cancelled: threading.Event) -> str:
        """Have a worker of `pool` execute `order`, and return the worker's name.

        Args:
            order: the stage to run.
            pool: name of the Prefect work pool.
            log: receives the lines of the stage and messages about the dispatch.
            cancelled: the run is cancelled once this event is set.

        Raises:
            InkflowError: the stage failed, no worker runs it, or `cancelled` was set.
        """
        for resends_left in reversed(range(self._workers.resends + 1)):
            with self._monitored_run(order, pool, log, cancelled) as run:
                try:
                    return self._wait(run, order, log, cancelled)
                except WorkerLost as error:
                    log(f"{error}{'; the stage is sent again' if resends_left else ''}")
        raise PoolFailed(
            f"{order.stage}: the pool {pool} has lost {counted(self._workers.resends + 1, 'worker')} that ran it"
        )

    @contextmanager
    def _monitored_run(
        self, order: Order, pool: str, log: Callable[[str], None], cancelled: threading.Event
    ) -> Iterator[SubRun]:
        """Find or create a run of the order in the pool, and monitor it until the block ends."""
        key = str(uuid4())  # a request whose response was lost is repeated with the same key
        with self._send_lock:
            run = _retry_outages(
                order.stage,
                cancelled,
                lambda: self._find_run(order, pool, key) or self._create_run(order, pool, key),
            )
            log(f"{'sent to' if run.is_own else 'another run has already sent it to'} the pool {pool}")
            self._monitor.add(run)
        try:
            yield run
        finally:
            self._monitor.remove(run)

    def _find_run(self, order: Order, pool: str, key: str) -> SubRun | None:
        """Return an unfinished run for the same result in the pool, if there is one; it is own if it has our `key`."""
        if order.force:
            return None
        runs = self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[_tag(order, pool)]))
        )
        active = [run for run in runs if run.state and not run.state.is_final() and not run.state.is_cancelling()]
        return SubRun(active[0].id, pool, is_own=active[0].idempotency_key == key) if active else None

    def _create_run(self, order: Order, pool: str, key: str) -> SubRun:
        """Create a sub-run of the flow run in the pool; a second call with the same `key` returns the same run.

        Raises:
            PoolUnusable: the server does not have the pool, or no deployment for it.
        """
        try:
            self._client.read_work_pool(pool)
        except ObjectNotFound as error:
            create = f"create it with `prefect work-pool create {pool} --type process`"
            missing = f"the Prefect server at {self._server} has no pool of that name"
            raise PoolUnusable(order.stage, pool, missing, create) from error
        try:
            run: Any = self._context.copy().run(
                run_deployment,
                f"{FLOW}/{pool}",
                parameters={"order": order.model_dump(exclude_none=True)},
                timeout=0,
                flow_run_name=order.stage,
                tags=["inkflow", _tag(order, pool)],
                idempotency_key=key,
            )
        except ObjectNotFound as error:
            deploy = f"deploy it with `prefect deploy --name {pool}`"
            missing = f"the Prefect server at {self._server} has no deployment {FLOW}/{pool}"
            raise PoolUnusable(order.stage, pool, missing, deploy) from error
        return SubRun(run.id, pool, is_own=True)

    def _wait(self, run: SubRun, order: Order, log: Callable[[str], None], cancelled: threading.Event) -> str:
        """Pass the lines of the stage to `log` until the run ends, and return the worker's name."""
        while True:
            run.changed.wait(POLL_S / 4)
            run.changed.clear()
            if cancelled.is_set():
                self._monitor.cancel(run)
                raise Interrupted(order.stage)
            if run.error is not None:
                raise run.error
            report, state = run.report, run.state  # read before the lines: those of an ended run are then complete
            while run.lines:
                log(run.lines.pop(0))
            if state is not None and state.is_final():
                return _worker_of(run, order, state, report)


def _worker_of(run: SubRun, order: Order, state: State[Any], report: Report | None) -> str:
    """Return the name of the worker that completed `run`, which ended in `state`.

    Raises:
        WorkerLost: the run crashed, or it belongs to another orchestrator and was not completed.
        InkflowError: the stage failed, or the run was cancelled.
    """
    if report is not None and report.ending is ExitStatus.DONE:
        return report.worker  # the result is in the remote, whatever the run's state is
    if state.is_completed():
        return report.worker if report else "?"
    if report is not None and report.ending not in (ExitStatus.NONE, ExitStatus.INTERRUPTED):
        raise report.error(order.timeout_s)
    if state.is_crashed() or not run.is_own:
        worker = f"worker {report.worker}" if report else f"a worker of the pool {run.pool}"
        raise WorkerLost(f"{worker} was lost: {state.message or state.name}")
    if state.is_cancelled():
        raise Interrupted(order.stage)
    raise InkflowError(f"{order.stage} in the pool {run.pool}: {state.message or state.name}")


def _retry_outages(stage: str, cancelled: threading.Event, action: Callable[[], SubRun]) -> SubRun:
    """Return the result of `action`, repeated while the server is unreachable or answers with a server error.

    Raises:
        PoolFailed: the server stays unreachable, or refuses the request.
        Interrupted: `cancelled` was set.
    """
    deadline = time.monotonic() + MAX_OUTAGE_S
    while True:
        try:
            return action()
        except (httpx.TransportError, PrefectHTTPStatusError, OSError) as error:
            is_refused = isinstance(error, PrefectHTTPStatusError) and error.response.is_client_error
            if is_refused or time.monotonic() > deadline:
                problem = "refuses the run" if isinstance(error, PrefectHTTPStatusError) else "cannot be reached"
                raise PoolFailed(f"{stage}: the Prefect server {problem}: {' '.join(str(error).split())}") from error
            if cancelled.wait(POLL_S):
                raise Interrupted(stage) from error


def _tag(order: Order, pool: str) -> str:
    """Return the tag of the runs whose result orchestrators share: that of one stage, in one DVC remote."""
    return f"{order.stage} {order.run_key[:16]} for {order.remote[:16]} in {pool}"
