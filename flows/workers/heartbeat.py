"""Tells the Prefect server every few seconds that a stage is being worked on, and learns whether it still should be."""

import os
import socket
import threading
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging.handlers import APILogWorker
from prefect.runtime import flow_run

from flows.workers.executor import Executor
from flows.workers.stage_report import ARTIFACT, BEAT_S, Ending, Report, ending_of
from stages.base.errors import InkflowError

DRAIN_S = 10.0
DELIVERY_S = 600.0  # how long the last report is tried while the server is away


class Heartbeat:
    """Tells the server every few seconds that the stage is being worked on, and hears whether it still should be."""

    def __init__(self, stage: str, executor: Executor) -> None:
        self._executor = executor
        self._id = flow_run.id
        self._client = get_client(sync_client=True)
        self.worker = os.environ.get("PREFECT__WORKER_NAME") or socket.gethostname()
        self._report = Report(self.worker, stage)
        self._parent: UUID | None = None  # the run of the flow that waits for the stage
        self._artifact: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="report", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def end(self, error: InkflowError | None) -> None:
        """Tell how the stage ended, also after the server was away for a while."""
        ending, code, words = (Ending.DONE, 0, "") if error is None else ending_of(error)
        self._over.set()
        self._thread.join()
        APILogWorker.drain_all(timeout=DRAIN_S, at_exit=False)  # who reads the end has all lines by then
        waiting = threading.Event()
        for _ in range(int(DELIVERY_S / BEAT_S)):
            if self._tell(ending=ending, code=code, words=words):
                return
            waiting.wait(BEAT_S)

    def _beat(self) -> None:
        while True:
            self._tell()
            with suppress(httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound, OSError):
                if self._is_over():
                    self._executor.interrupt()
            if self._over.wait(BEAT_S):
                return

    def _is_over(self) -> bool:
        """True when the run was cancelled or taken for lost, or nobody waits for it since the flow's run ended."""
        run = self._client.read_flow_run(self._id)
        if _has_ended(run):
            return True
        if self._parent is None and run.parent_task_run_id:
            self._parent = self._client.read_task_run(run.parent_task_run_id).flow_run_id
        return self._parent is not None and _has_ended(self._client.read_flow_run(self._parent))

    def _tell(self, **ending: Any) -> bool:
        """Renew the report; true when the server has it."""
        fields = {**self._report.__dict__, "beat": self._report.beat + 1, "doing": self._executor.doing, **ending}
        self._report = Report(**fields)
        try:
            if self._artifact is None:
                made = ArtifactCreate(type=ARTIFACT, data=self._report.to_table(), flow_run_id=self._id)
                self._artifact = self._client.create_artifact(made)
            else:
                self._client.update_artifact(self._artifact.id, ArtifactUpdate(data=self._report.to_table()))
        except (httpx.HTTPError, PrefectHTTPStatusError, OSError):
            return False
        return True


def _has_ended(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_final() or run.state.is_cancelling())
