"""Checks the quality gates of the report in a Prefect task, the last one of the pipeline."""

from pathlib import Path
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.core.gates import recorded_gates
from flows.engine.run import GATES, Run
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_task
from flows.workers.local_engine import check_gates
from stages.base.errors import InkflowError


def gates_task(run: Run) -> Task[[], State[Any]]:
    """Return a task that fails if a quality gate of the report failed, and adds the error to `run`.

    On a stand-in, whose limits are not judged, its state has the name `Not judged`.
    """

    def body() -> State[Any]:
        outcome = check_gates(run)
        if isinstance(outcome, InkflowError):
            return failure_state(outcome)
        return Completed(message=outcome, name="Not judged" if recorded_gates(Path())["note"] else None)

    return own_task(GATES, body)
