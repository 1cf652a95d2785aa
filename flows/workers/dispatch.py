"""Stages in work pools, by Prefect: each a run of the deployment `train-stage/<pool>`, as a sub-run of the flow's.

    carry ── run_deployment ──> Scheduled ── a worker takes it ──> Running ── reports ──> Completed, Failed
                  ^                                                    │
                  └──────── no sign of life: marked Crashed, sent again┘

`remote_follow` asks the server what becomes of them; a server that is away for a while is waited for.
"""

import threading
import time
from collections.abc import Iterator
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
from flows.engine.policy import Workers
from flows.workers.order import Order
from flows.workers.pool_stages import Say
from flows.workers.run_monitor import OUTAGE_S, POLL_S, RunMonitor, SubRun
from flows.workers.stage_report import Ending, Report
from stages.base.errors import InkflowError

FLOW = "train-stage"  # the deployments are called train-stage/<pool>


class Lost(Exception):
    """A run that nobody is at work on any more."""


class Dispatch:
    """Sends stages to pools and follows them, for one run of the flow; to be made inside of it."""

    def __init__(self, workers: Workers, server: str | None) -> None:
        self._workers = workers
        self._server = server
        self._context = copy_context()  # of the flow's run, so that what is sent belongs to it
        self._client = get_client(sync_client=True)
        self._follower = RunMonitor(self._client, workers)
        self._one_at_a_time = threading.Lock()

    def carry(self, order: Order, pool: str, say: Say, ended: threading.Event) -> str:
        """Have `order` done by a worker of `pool`; the worker's name.

        Raises:
            InkflowError: the stage failed there, nobody takes it, or `ended` was set.
        """
        if self._server is None:
            name_one = "name one with PREFECT_API_URL or `prefect config set PREFECT_API_URL=URL`"
            raise PoolUnusable(order.stage, pool, "no Prefect server is named that could have it", name_one)
        for left in reversed(range(self._workers.resends + 1)):
            with self._sent(order, pool, say, ended) as run:
                try:
                    return self._await(run, order, say, ended)
                except Lost as lost:
                    again = "; it is sent again" if left else ""
                    say(f"{lost}{again}")
        raise PoolFailed(
            f"{order.stage}: {self._workers.resends + 1} workers of the pool {pool} were lost while they ran it"
        )

    @contextmanager
    def _sent(self, order: Order, pool: str, say: Say, ended: threading.Event) -> Iterator[SubRun]:
        """A run of the order in the pool, which is followed as long as the block lasts."""
        with self._one_at_a_time:
            once = str(uuid4())  # an answer may be lost on its way, and is asked for again

            def under_way_or_sent() -> SubRun:
                return self._under_way(order, pool, once) or self._send(order, pool, once)

            run = self._patiently(order.stage, ended, under_way_or_sent)
            say(f"{'sent to' if run.ours else 'another run has it done in'} the pool {pool}")
            self._follower.add(run)
        try:
            yield run
        finally:
            self._follower.drop(run)

    def _under_way(self, order: Order, pool: str, once: str) -> SubRun | None:
        """The run that somebody has sent already for the same result, unless it ended; ours where its key is `once`."""
        if order.force:
            return None
        runs = self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[_tag(order, pool)]))
        )
        alive = [run for run in runs if run.state and not run.state.is_final() and not run.state.is_cancelling()]
        return SubRun(alive[0].id, pool, ours=alive[0].idempotency_key == once) if alive else None

    def _send(self, order: Order, pool: str, once: str) -> SubRun:
        """Create a run in the pool, as a sub-run of the flow's; a second call with the same `once` gives the same run.

        Raises:
            PoolUnusable: the server knows no such pool, or no deployment for it.
        """
        try:
            self._client.read_work_pool(pool)
        except ObjectNotFound as error:
            create = f"create it with `prefect work-pool create {pool} --type process`"
            raise PoolUnusable(
                order.stage, pool, f"the Prefect server at {self._server} has none of that name", create
            ) from error
        try:
            run: Any = self._context.copy().run(
                run_deployment,
                f"{FLOW}/{pool}",
                parameters={"order": order.model_dump()},
                timeout=0,
                flow_run_name=order.stage,
                tags=["inkflow", _tag(order, pool)],
                idempotency_key=once,
            )
        except ObjectNotFound as error:
            deploy = f"deploy it with `prefect deploy --name {pool}`"
            missing = f"the Prefect server at {self._server} has no deployment {FLOW}/{pool}"
            raise PoolUnusable(order.stage, pool, missing, deploy) from error
        return SubRun(run.id, pool, ours=True)

    def _await(self, run: SubRun, order: Order, say: Say, ended: threading.Event) -> str:
        """Say what the worker says until the run ends; the worker's name."""
        while True:
            run.changed.wait(POLL_S / 4)
            run.changed.clear()
            if ended.is_set():
                self._follower.cancel(run)
                raise Interrupted(order.stage)
            if run.error is not None:
                raise run.error
            report, state = run.report, run.state  # before its lines: those of a run that ended are all there
            while run.lines:
                say(run.lines.pop(0))
            if state is not None and state.is_final():
                return self._settled(run, order, state, report)

    def _settled(self, run: SubRun, order: Order, state: State[Any], report: Report | None) -> str:
        """Name of the worker that ended well, or what else became of the run."""
        if report is not None and report.ending is Ending.DONE:
            return report.worker  # the result is in the remote, whatever became of the run then
        if state.is_completed():
            return report.worker if report else "?"
        if report is not None and report.ending not in (Ending.NONE, Ending.INTERRUPTED):
            raise report.error(order.timeout_s)
        if state.is_crashed() or not run.ours:
            who = f"worker {report.worker}" if report else f"a worker of the pool {run.pool}"
            raise Lost(f"{who} was lost: {state.message or state.name}")
        if state.is_cancelled():
            raise Interrupted(order.stage)
        raise InkflowError(f"{order.stage} in the pool {run.pool}: {state.message or state.name}")

    def _patiently(self, stage: str, ended: threading.Event, act: Any) -> SubRun:
        """Do it, again and again while the server is away, or has a fault that may pass.

        Raises:
            PoolFailed: it stays away, or refuses.
        """
        end = time.monotonic() + OUTAGE_S
        while True:
            try:
                return act()  # type: ignore[no-any-return]
            except (httpx.TransportError, PrefectHTTPStatusError, OSError) as error:
                refused = isinstance(error, PrefectHTTPStatusError) and error.response.is_client_error
                if refused or time.monotonic() > end:
                    why = "does not take it" if isinstance(error, PrefectHTTPStatusError) else "cannot be reached"
                    raise PoolFailed(f"{stage}: the Prefect server {why}: {' '.join(str(error).split())}") from error
                if ended.wait(POLL_S):
                    raise Interrupted(stage) from error


def _tag(order: Order, pool: str) -> str:
    return f"{order.stage} {order.run_key[:16]} in {pool}"
