"""Makes flows and tasks whose settings are ours alone: a person's defaults in Prefect do not change them.

A retried flow run would wait for a worker that never comes, and results have no use: DVC's cache is the only one.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.tasks.broken_output import ignore_broken_output

P = ParamSpec("P")
Returned = TypeVar("Returned")
RESULTS = Path(".inkflow/results")  # stays empty; without a folder, Prefect loads the storage of a person's defaults


def own_flow(name: str) -> Callable[[Callable[P, Returned]], Flow[P, Returned]]:
    """Return a decorator that makes a flow of a function; runs of the flow outlive the readers of their output."""
    ignore_broken_output()
    # Without the limit of a person's defaults: a task only follows its stage.
    runner: Any = ThreadPoolTaskRunner(max_workers=sys.maxsize)

    def decorate(function: Callable[P, Returned]) -> Flow[P, Returned]:
        return Flow(
            fn=function,
            name=name,
            retries=0,
            retry_delay_seconds=0,
            persist_result=False,
            result_storage=RESULTS,
            result_serializer="json",
            log_prints=False,
            task_runner=runner,
        )

    return decorate


def own_task(name: str, body: Callable[P, State[Any]], **options: Any) -> Task[P, State[Any]]:
    """Return a task that calls `body`; `options` are Prefect's; without them it has no retries.

    The name comes from a function: Prefect formats a text, and names of stages and combinations may have braces.
    """
    return Task(
        fn=body,
        name=name,
        task_run_name=lambda: name,
        cache_policy=NO_CACHE,
        persist_result=False,
        result_serializer="json",
        log_prints=False,
        **{"retries": 0, "retry_delay_seconds": 0, "retry_jitter_factor": 0, **options},
    )
