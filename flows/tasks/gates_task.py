"""Checks the quality gates of the report in a Prefect task, the last one of the pipeline."""

from pathlib import Path
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.core.gates import enforce_gates
from flows.engine.run import GATES, Run
from flows.tasks.failure_state import failure_state
from stages.base.errors import InkflowError


def gates_task(run: Run) -> Task[[], State[Any]]:
    """Return a task that fails if a quality gate of the report failed, and adds the error to `run`."""

    def body() -> State[Any]:
        try:
            summary = enforce_gates(Path())
        except InkflowError as error:
            run.errors[GATES] = error
            run.display.failure(GATES, str(error))
            return failure_state(error)
        run.display.note(summary)
        return Completed(message=summary)

    return Task(fn=body, name=GATES, task_run_name=GATES, cache_policy=NO_CACHE, persist_result=False)
