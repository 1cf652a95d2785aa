"""Monitors the runs that were sent to pools: one thread polls the Prefect server for all of them.

A run is lost when its worker has sent no heartbeat for a while. Time in which the server could not report a heartbeat,
because it was unreachable or slow, does not count.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from json import JSONDecodeError
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling, Crashed

from flows.core.errors import PoolFailed
from flows.engine.policy import Workers
from flows.workers.log_reader import PAGE_SIZE, LogReader
from flows.workers.stage_report import Report

POLL_S = 1.0
MAX_POLL_GAP_S = 3.0  # a longer gap between two polls is the server's delay, and does not count against the workers
RECONNECT_S = 45.0  # after an outage: the client of Prefect, on workers too, waits up to 38 s before it tries again
START_TIMEOUT_S = 600.0  # from a worker's start of a run to its first report: it may have to pull a container image
RUNS = PAGE_SIZE // 2  # in one request: a run may have two reports
MAX_ABSENCES = 3  # of a run from answers of the server, after which it was deleted
MAX_OUTAGE_S = 600.0  # a longer outage of the server fails the stages


@dataclass
class SubRun:
    """A run in a pool, with its last known state.

    All times are those of this module's `time.monotonic`.

    Attributes:
        id: id of the flow run.
        pool: name of its work pool.
        is_own: False for a run that another orchestrator sent for the same inputs.
        state: last state on the server.
        report: last report of the worker.
        lines: lines of the stage that were not passed on yet.
        last_heartbeat: time of the worker's last heartbeat.
        no_worker_since: time since which its pool has no worker.
        grace_until: until then its worker may not have noticed that the server is back after an outage.
        changed: set after each poll.
        absences: answers of the server that did not have it.
        error: raised in the thread that waits for the run.
    """

    id: UUID
    pool: str
    is_own: bool
    state: State[Any] | None = None
    report: Report | None = None
    lines: list[str] = field(default_factory=list)
    last_heartbeat: float = field(default_factory=lambda: time.monotonic())
    no_worker_since: float = field(default_factory=lambda: time.monotonic())
    grace_until: float = 0.0
    changed: threading.Event = field(default_factory=threading.Event)
    absences: int = 0
    error: BaseException | None = None

    log_reader: LogReader = field(init=False)

    def __post_init__(self) -> None:
        """Create the reader of the run's lines."""
        self.log_reader = LogReader(self.id)

    def discount(self, delay_s: float, now: float) -> None:
        """Exclude `delay_s` seconds before `now` from the time without a heartbeat and the time without workers."""
        self.last_heartbeat = min(now, self.last_heartbeat + delay_s)
        self.no_worker_since = min(now, self.no_worker_since + delay_s)

    def update(self, state: State[Any] | None, report: Report | None, now: float) -> None:
        """Store the run's state and report as of `now`; a new state or report counts as a heartbeat."""
        has_new_report = report is not None and (self.report is None or report.beat != self.report.beat)
        if has_new_report or state is None or self.state is None or state.type is not self.state.type:
            self.last_heartbeat = now
        self.report, self.state = report, state

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the thread that waits for the run."""
        self.error = error
        self.changed.set()


class RunMonitor:
    """Polls the server for runs, from the first run on until the process ends."""

    def __init__(self, client: SyncPrefectClient, workers: Workers) -> None:
        self._client = client
        self._workers = workers
        self._runs: dict[UUID, SubRun] = {}
        self._polled_at = 0.0
        self._outage_since: float | None = None
        self._thread: threading.Thread | None = None

    def add(self, run: SubRun) -> None:
        """Start to monitor `run`; not safe to call from several threads at a time."""
        self._runs[run.id] = run
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll_forever, name="dispatch", daemon=True)
            self._thread.start()

    def remove(self, run: SubRun) -> None:
        """Stop to monitor `run`."""
        del self._runs[run.id]

    def cancel(self, run: SubRun) -> None:
        """Cancel `run` on its worker; a run of another orchestrator is not cancelled."""
        if run.is_own:
            try:
                self._client.set_flow_run_state(run.id, Cancelling(message="the run that sent it was ended"))
            except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound):
                return  # the worker ends the stage when the server reports that the flow run has ended

    def _poll_forever(self) -> None:
        self._polled_at = time.monotonic()
        # The client's own retries, for a minute, would hide an outage.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            while True:
                time.sleep(POLL_S)
                self._try_to_poll(dict(self._runs))

    def _try_to_poll(self, runs: dict[UUID, SubRun]) -> None:
        """Update all runs from the server, if that answers; other errors fail the runs."""
        try:
            self._poll(runs)
        except (httpx.HTTPError, OSError, JSONDecodeError) as error:  # of a server that starts, or a page of a proxy
            self._handle_outage(runs, error)
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting threads
            for run in runs.values():
                run.fail(error)

    def _handle_outage(self, runs: dict[UUID, SubRun], error: Exception) -> None:
        """Fail the runs if the server has been unreachable for too long."""
        self._outage_since = self._outage_since or time.monotonic()
        if time.monotonic() - self._outage_since > MAX_OUTAGE_S:
            for run in runs.values():
                run.fail(PoolFailed(f"the Prefect server has been unreachable for {MAX_OUTAGE_S:g} s: {error}"))

    def _poll(self, runs: dict[UUID, SubRun]) -> None:
        """Update all runs from the server."""
        ids = list(runs)
        pages = [self._read_page(ids[start : start + RUNS]) for start in range(0, len(ids), RUNS)]
        self._discount_delay(runs)
        for flow_run, report in (entry for page in pages for entry in page):
            self._update(runs[flow_run.id], flow_run.state, report)
        for run in (runs[identifier] for identifier in set(ids) - {run.id for page in pages for run, _ in page}):
            run.absences += 1
            if run.absences == MAX_ABSENCES:
                run.update(Crashed(message="the server no longer has the run"), run.report, self._polled_at)
                run.changed.set()
        self._check_for_workers([run for run in runs.values() if run.state is None or run.state.is_scheduled()])

    def _read_page(self, ids: list[UUID]) -> list[tuple[FlowRun, Report | None]]:
        """Read up to RUNS flow runs, each with its newest report: a request that Prefect repeats makes a second one."""
        flow_runs = self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)), limit=PAGE_SIZE
        )
        artifacts = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=ids)), limit=PAGE_SIZE
        )
        found = [(artifact.flow_run_id, Report.from_table(artifact.data)) for artifact in artifacts]
        reports = sorted((report.beat, run, report) for run, report in found if report and run)
        newest = {run: report for _, run, report in reports}
        return [(flow_run, newest.get(flow_run.id)) for flow_run in flow_runs]

    def _discount_delay(self, runs: dict[UUID, SubRun]) -> None:
        """Exclude the server's delay since the last poll from the waiting times of all runs."""
        now = time.monotonic()
        delay_s, self._polled_at = now - self._polled_at - MAX_POLL_GAP_S, now
        was_outage, self._outage_since = self._outage_since is not None, None
        for run in runs.values():
            if delay_s > 0:
                run.discount(delay_s, now)
            if was_outage:
                run.grace_until = now + RECONNECT_S

    def _update(self, run: SubRun, state: State[Any] | None, report: Report | None) -> None:
        """Update one run, and set its state to Crashed if its worker has sent no heartbeat for too long."""
        if report is not None:
            run.lines += run.log_reader.read_new(self._client)
        now = self._polled_at  # before the lines were read: a slow server does not count against the worker
        run.update(state, report, now)
        silent_s = now - run.last_heartbeat
        is_running = state is not None and (state.is_running() or state.is_cancelling())
        is_starting = state is not None and state.is_pending()
        is_lost = is_running and silent_s > self._workers.lost_after_s and now > run.grace_until
        if is_lost or (is_starting and silent_s > START_TIMEOUT_S):
            message = f"no heartbeat for {silent_s:.0f} s"
            self._client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        run.changed.set()

    def _check_for_workers(self, waiting: Sequence[SubRun]) -> None:
        """Cancel and fail the runs in `waiting` whose pool has had no worker for too long."""
        now = self._polled_at
        for pool in {run.pool for run in waiting}:
            workers = self._client.read_workers_for_work_pool(pool)
            has_worker = any(worker.status is WorkerStatus.ONLINE for worker in workers)
            for run in (run for run in waiting if run.pool == pool):
                if has_worker:
                    run.no_worker_since = now
                elif now > run.grace_until and now - run.no_worker_since > self._workers.pool_wait_s:
                    self.cancel(run)
                    run.fail(
                        PoolFailed(
                            f"the work pool {pool} has had no worker for {self._workers.pool_wait_s:g} s; start one, "
                            f"on any machine that reaches the server, with `prefect worker start --pool {pool}`"
                        )
                    )
