"""What became of the runs that were sent to pools: one thread asks the Prefect server for all of them.

A run is lost when its worker gives no sign of life for a while. Only time in which the server could have told of one
counts: while it is away, or answers late, every worker is silent.
"""

import threading
import time
from dataclasses import dataclass, field
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
from flows.workers.log_reader import PAGE, LogReader
from flows.workers.stage_report import Report

POLL_S = 1.0
LATE_S = 3.0  # between two looks: what goes beyond it the server was away, or busy, and no silence of the workers
BACK_OFF_S = 45.0  # after an outage: Prefect's client, which a worker has too, waits up to 38 s before it asks again
STARTING_S = 600.0  # between a worker's taking a run and its first words: a container may have to be fetched
OUTAGE_S = 600.0  # a server that is away longer fails the stages


@dataclass
class SubRun:
    """One run that was sent to a pool, as the server last told of it."""

    id: UUID
    pool: str
    ours: bool  # not one that another orchestrator sent for the same inputs
    state: State[Any] | None = None
    report: Report | None = None
    lines: list[str] = field(default_factory=list)
    alive_at: float = field(default_factory=lambda: time.monotonic())  # by the clock of this module, as all of it
    unserved_since: float = field(default_factory=lambda: time.monotonic())  # no worker of its pool was there
    patient_until: float = 0.0  # until then its worker may not have noticed that the server is back
    changed: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    said: LogReader = field(init=False)

    def __post_init__(self) -> None:
        """All of its lines are new."""
        self.said = LogReader(self.id)

    def excuse(self, late_s: float, now: float) -> None:
        """Let `late_s` that passed by `now` count neither as its worker's silence nor as lack of workers."""
        self.alive_at = min(now, self.alive_at + late_s)
        self.unserved_since = min(now, self.unserved_since + late_s)

    def hear(self, state: State[Any] | None, report: Report | None, now: float) -> None:
        """Take over what the server told by `now`; a new state or report is a sign of life."""
        spoke = report is not None and (self.report is None or report.beat != self.report.beat)
        if spoke or state is None or self.state is None or state.type is not self.state.type:
            self.alive_at = now
        self.report, self.state = report, state

    def fail(self, error: BaseException) -> None:
        """Raise `error` where somebody waits for the run."""
        self.error = error
        self.changed.set()


class RunMonitor:
    """Follows runs from the first one on, as long as the process lives."""

    def __init__(self, client: SyncPrefectClient, workers: Workers) -> None:
        self._client = client
        self._workers = workers
        self._followed: dict[UUID, SubRun] = {}
        self._looked_at = 0.0
        self._away_since: float | None = None
        self._thread: threading.Thread | None = None

    def add(self, run: SubRun) -> None:
        """Follow `run`; to be called by one thread at a time."""
        self._followed[run.id] = run
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="dispatch", daemon=True)
            self._thread.start()

    def drop(self, run: SubRun) -> None:
        """Follow `run` no longer."""
        del self._followed[run.id]

    def cancel(self, run: SubRun) -> None:
        """Have the worker end what it runs; another orchestrator's run goes on."""
        if run.ours:
            try:
                self._client.set_flow_run_state(run.id, Cancelling(message="the run that asked for it was ended"))
            except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound):
                return  # the server is away: the worker ends the stage when it hears there that the flow's run is over

    def _follow(self) -> None:
        self._looked_at = time.monotonic()
        # Prefect's client would ask again by itself for a minute, and nobody would know that the server was away.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            while True:
                time.sleep(POLL_S)
                runs = dict(self._followed)
                try:
                    self._look(runs)
                except (httpx.HTTPError, OSError) as error:  # also a server that is just starting
                    self._endure(runs, error)
                except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
                    for run in runs.values():
                        run.fail(error)

    def _endure(self, runs: dict[UUID, SubRun], error: Exception) -> None:
        """Wait on for a server that is away, but not for ever."""
        self._away_since = self._away_since or time.monotonic()
        if time.monotonic() - self._away_since > OUTAGE_S:
            for run in runs.values():
                run.fail(PoolFailed(f"the Prefect server is away for {OUTAGE_S:g} s: {error}"))

    def _look(self, runs: dict[UUID, SubRun]) -> None:
        """Take over what the server tells of each run."""
        ids, told, by_run = list(runs), list[FlowRun](), dict[UUID | None, Report | None]()
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            told += self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=some)), limit=PAGE
            )
            reports = self._client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=some)), limit=PAGE
            )
            by_run |= {artifact.flow_run_id: Report.from_table(artifact.data) for artifact in reports}
        self._excuse_delay(runs)
        for run in told:
            self._take(runs[run.id], run.state, by_run.get(run.id))
        self._look_for_workers([run for run in runs.values() if run.state is None or run.state.is_scheduled()])

    def _excuse_delay(self, runs: dict[UUID, SubRun]) -> None:
        """Charge no run with the time since the last look in which the server could not have told of it."""
        now = time.monotonic()
        late_s, self._looked_at = now - self._looked_at - LATE_S, now
        was_away, self._away_since = self._away_since is not None, None
        for run in runs.values():
            if late_s > 0:
                run.excuse(late_s, now)
            if was_away:
                run.patient_until = now + BACK_OFF_S

    def _take(self, run: SubRun, state: State[Any] | None, report: Report | None) -> None:
        """Take over what the server tells of one run; mark it Crashed when nobody is at work on it any more."""
        if report is not None:
            run.lines += run.said.new(self._client)
        now = self._looked_at  # asking for the lines may have taken long: no silence of the worker either
        run.hear(state, report, now)
        silent_s = now - run.alive_at
        running = state is not None and (state.is_running() or state.is_cancelling())
        starting = state is not None and state.is_pending()
        lost = running and silent_s > self._workers.lost_after_s and now > run.patient_until
        if lost or (starting and silent_s > STARTING_S):
            message = f"no sign of life for {silent_s:.0f} s"
            self._client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        run.changed.set()

    def _look_for_workers(self, waiting: list[SubRun]) -> None:
        """Give up runs that nobody takes since their pool has no worker."""
        now = self._looked_at
        for pool in {run.pool for run in waiting}:
            workers = self._client.read_workers_for_work_pool(pool)
            is_served = any(worker.status is WorkerStatus.ONLINE for worker in workers)
            for run in (run for run in waiting if run.pool == pool):
                if is_served:
                    run.unserved_since = now
                elif now > run.patient_until and now - run.unserved_since > self._workers.pool_wait_s:
                    self.cancel(run)
                    run.fail(
                        PoolFailed(
                            f"the work pool {pool} has no worker since {self._workers.pool_wait_s:g} s; start one, on "
                            f"any machine that reaches the server, with `prefect worker start --pool {pool}`"
                        )
                    )
