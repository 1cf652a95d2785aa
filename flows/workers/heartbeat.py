"""Sends the report on a running stage to the Prefect server every few seconds, and interrupts a cancelled stage."""

import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
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
from flows.workers.stage_report import ARTIFACT_TYPE, HEARTBEAT_S, ExitStatus, Report, describe_error
from stages.base.errors import InkflowError

LOG_FLUSH_S = 60.0  # on a busy machine
NO_ANSWER = (httpx.HTTPError, PrefectHTTPStatusError, OSError, ValueError)  # a ValueError about the page of a proxy
FINAL_REPORT_S = 600.0  # the last report is retried for so long if the server is unreachable


class Heartbeat:
    """Sends the report on a stage to the server every few seconds, as a context manager around its execution.

    Each time it asks the server whether the run was cancelled, and interrupts the stage if so.
    """

    def __init__(self, stage: str, executor: Executor) -> None:
        self._executor = executor
        self._id = flow_run.id
        self._client = get_client(sync_client=True)
        self.worker = os.environ.get("PREFECT__WORKER_NAME") or socket.gethostname()
        self._report = Report(self.worker, stage)
        self._parent_id: UUID | None = None  # of the flow run that waits for the stage
        self._artifact: Any = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def finish(self, error: InkflowError | None) -> None:
        """Send the final report, with `error` if the stage failed; retry while the server is unreachable."""
        ending, code, words = (ExitStatus.DONE, 0, "") if error is None else describe_error(error)
        self._stop()
        APILogWorker.drain_all(timeout=LOG_FLUSH_S, at_exit=False)  # all lines have to arrive before the final report
        for _ in range(int(FINAL_REPORT_S / HEARTBEAT_S)):
            if self._send(ending=ending, code=code, words=words):
                return
            time.sleep(HEARTBEAT_S)

    def _stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._send()
            with suppress(*NO_ANSWER, ObjectNotFound):
                if self._is_cancelled():
                    self._executor.interrupt()
            if self._stopped.wait(HEARTBEAT_S):
                return

    def _is_cancelled(self) -> bool:
        """Return True if the run was cancelled, crashed or deleted, or if the flow run that sent it has ended."""
        try:
            run = self._client.read_flow_run(self._id)
        except ObjectNotFound:
            return True
        if _has_ended(run):
            return True
        if self._parent_id is None and run.parent_task_run_id:
            self._parent_id = self._client.read_task_run(run.parent_task_run_id).flow_run_id
        return self._parent_id is not None and _has_ended(self._client.read_flow_run(self._parent_id))

    def _send(self, **changes: Any) -> bool:
        """Send the next report, with `changes` of its fields; return True if the server has it."""
        self._report = replace(self._report, beat=self._report.beat + 1, doing=self._executor.activity, **changes)
        try:
            if self._artifact is None:
                artifact = ArtifactCreate(type=ARTIFACT_TYPE, data=self._report.to_table(), flow_run_id=self._id)
                self._artifact = self._client.create_artifact(artifact)
            else:
                self._client.update_artifact(self._artifact.id, ArtifactUpdate(data=self._report.to_table()))
        except NO_ANSWER:
            return False
        return True


def _has_ended(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_final() or run.state.is_cancelling())
