"""Checks the quality gates of the report in a Prefect task, the last one of the pipeline."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.engine.run import GATES, Run
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_task
from flows.workers.local_engine import check_gates
from stages.base.errors import InkflowError


def gates_task(run: Run) -> Task[[], State[Any]]:
    """Return a task that fails if a quality gate of the report failed, and adds the error to `run`."""

    def body() -> State[Any]:
        outcome = check_gates(run)
        return failure_state(outcome) if isinstance(outcome, InkflowError) else Completed(message=outcome)

    return own_task(GATES, body)
