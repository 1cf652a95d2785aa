"""Stages in work pools, by Prefect: each a run of the deployment `train-stage/<pool>`, as a sub-run of the flow's.

    carry ── run_deployment ──> Scheduled ── a worker takes it ──> Running ── reports ──> Completed, Failed
                  ^                                                    │
                  └──────── no sign of life: marked Crashed, sent again┘

One thread asks the server for all of them; a server that is away for a while is waited for.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed

from flows.errors import Interrupted, PoolFailed, PoolUnusable
from flows.policy import Workers
from flows.remote import Say
from flows.remote_lines import PAGE, Lines
from flows.remote_order import Order
from flows.remote_report import Ending, Report
from stages.errors import InkflowError

FLOW = "train-stage"  # the deployments are called train-stage/<pool>
POLL_S = 1.0
STARTING_S = 600.0  # between a worker's taking a run and its first words: a container may have to be fetched
OUTAGE_S = 600.0  # a server that is away longer fails the stages


class Lost(Exception):
    """A run that nobody is at work on any more."""


@dataclass
class SubRun:
    """One run that was sent to a pool, as the server last told of it."""

    id: UUID
    pool: str
    ours: bool  # not one that another orchestrator sent for the same inputs
    state: State[Any] | None = None
    report: Report | None = None
    lines: list[str] = field(default_factory=list)
    alive_at: float = field(default_factory=time.monotonic)
    sent_at: float = field(default_factory=time.monotonic)
    changed: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    said: Lines = field(init=False)

    def __post_init__(self) -> None:
        """All of its lines are new."""
        self.said = Lines(self.id)


class Dispatch:
    """Sends stages to pools and follows them, for one run of the flow; to be made inside of it."""

    def __init__(self, workers: Workers, server: str | None) -> None:
        self._workers = workers
        self._server = server
        self._context = copy_context()  # of the flow's run, so that what is sent belongs to it
        self._client = get_client(sync_client=True)
        self._followed: dict[UUID, SubRun] = {}
        self._one_at_a_time = threading.Lock()
        self._follower: threading.Thread | None = None

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
            self._followed[run.id] = run
            if self._follower is None:
                self._follower = threading.Thread(target=self._follow, name="dispatch", daemon=True)
                self._follower.start()
        try:
            yield run
        finally:
            del self._followed[run.id]

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
                self._cancel(run)
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
        if state.is_completed():
            return report.worker if report else "?"
        if report is not None and report.ending not in (Ending.NONE, Ending.DONE, Ending.INTERRUPTED):
            raise report.error(order.timeout_s)
        if state.is_crashed() or not run.ours:
            who = f"worker {report.worker}" if report else f"a worker of the pool {run.pool}"
            raise Lost(f"{who} was lost: {state.message or state.name}")
        if state.is_cancelled():
            raise Interrupted(order.stage)
        raise InkflowError(f"{order.stage} in the pool {run.pool}: {state.message or state.name}")

    def _cancel(self, run: SubRun) -> None:
        """Have the worker end what it runs; another orchestrator's run goes on."""
        if run.ours:
            try:
                self._client.set_flow_run_state(run.id, Cancelling(message="the run that asked for it was ended"))
            except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound):
                return  # the server is away: the worker ends the stage when it hears there that the flow's run is over

    def _follow(self) -> None:
        """Ask the server for all runs that are followed, as long as the process lives."""
        away_since: float | None = None
        while True:
            time.sleep(POLL_S)
            runs = dict(self._followed)
            if not runs:
                continue
            try:
                self._look(runs)
                away_since = None
            except (httpx.HTTPError, OSError) as error:  # also a server that is just starting
                away_since = away_since or time.monotonic()
                for run in runs.values():
                    run.alive_at = run.sent_at = time.monotonic()
                    if time.monotonic() - away_since > OUTAGE_S:
                        run.error = PoolFailed(f"the Prefect server is away for {OUTAGE_S:g} s: {error}")
                        run.changed.set()
            except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
                for run in runs.values():
                    run.error = error
                    run.changed.set()

    def _look(self, runs: dict[UUID, SubRun]) -> None:
        """Take over what the server tells of each run."""
        ids = list(runs)
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            states = self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=some)), limit=PAGE
            )
            reports = self._client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=some)), limit=PAGE
            )
            by_run = {artifact.flow_run_id: Report.from_table(artifact.data) for artifact in reports}
            for told in states:
                self._take(runs[told.id], told, by_run.get(told.id))
        self._look_for_workers([run for run in runs.values() if run.state is None or run.state.is_scheduled()])

    def _take(self, run: SubRun, told: FlowRun, report: Report | None) -> None:
        """Take over what the server tells of one run; mark it Crashed when nobody is at work on it any more."""
        if report is not None and (run.report is None or report.beat != run.report.beat):
            run.alive_at = time.monotonic()
        state = told.state
        if state is None or run.state is None or state.type is not run.state.type:
            run.alive_at = time.monotonic()
        if report is not None:
            run.lines += run.said.new(self._client)
        run.report, run.state = report, told.state
        silent_s = time.monotonic() - run.alive_at
        running = state is not None and (state.is_running() or state.is_cancelling())
        starting = state is not None and state.is_pending()
        if (running and silent_s > self._workers.lost_after_s) or (starting and silent_s > STARTING_S):
            message = f"no sign of life for {silent_s:.0f} s"
            self._client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        run.changed.set()

    def _look_for_workers(self, waiting: list[SubRun]) -> None:
        """Give up runs that nobody takes since their pool has no worker."""
        for pool in {run.pool for run in waiting}:
            if any(worker.status is WorkerStatus.ONLINE for worker in self._client.read_workers_for_work_pool(pool)):
                continue
            for run in waiting:
                if run.pool == pool and time.monotonic() - run.sent_at > self._workers.pool_wait_s:
                    self._cancel(run)
                    run.error = PoolFailed(
                        f"the work pool {pool} has no worker since {self._workers.pool_wait_s:g} s; start one, on any "
                        f"machine that reaches the server, with `prefect worker start --pool {pool}`"
                    )
                    run.changed.set()

    def _patiently(self, stage: str, ended: threading.Event, act: Any) -> SubRun:
        """Do it, again and again while the server is away."""
        end = time.monotonic() + OUTAGE_S
        while True:
            try:
                return act()  # type: ignore[no-any-return]
            except (httpx.TransportError, OSError) as error:
                if time.monotonic() > end:
                    raise PoolFailed(f"{stage}: the Prefect server cannot be reached: {error}") from error
                if ended.wait(POLL_S):
                    raise Interrupted(stage) from error


def _tag(order: Order, pool: str) -> str:
    return f"{order.stage} {order.run_key[:16]} in {pool}"
