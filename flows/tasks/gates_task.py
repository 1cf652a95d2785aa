"""The last task of the pipeline: fails where a model did not reach what params.yaml asks of it."""

from pathlib import Path
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.core.gates import enforce
from flows.engine.run import GATES, Run
from flows.tasks.failure_state import failed
from stages.base.errors import InkflowError


def gates_task(run: Run) -> Task[[], State[Any]]:
    """A task that reads the report's judgement; a failed gate is an error of `run`."""

    def body() -> State[Any]:
        try:
            summary = enforce(Path())
        except InkflowError as error:
            run.errors[GATES] = error
            run.display.failure(GATES, str(error))
            return failed(error)
        run.display.note(summary)
        return Completed(message=summary)

    return Task(fn=body, name=GATES, task_run_name=GATES, cache_policy=NO_CACHE, persist_result=False)
