"""Runs the pipeline as a Prefect flow, with a task run for each stage of DVC's graph.

A task ends `Cached` if DVC found the stage unchanged or restored it, `Completed` if it ran, `Failed` with the stage's
own message, and `Not run` after a failure upstream. Prefect's result caching is disabled: DVC's cache is the only one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture, wait
from prefect.logging.handlers import APILogWorker
from prefect.states import Completed

from flows.core.errors import Interrupted, StageFailed
from flows.core.notices import fallback_notice, stand_in_notice
from flows.core.params_edit import apply_settings
from flows.core.redaction import mask_content, mask_logs
from flows.engine.engine import Engine
from flows.engine.run import RUN_ITSELF, Run
from flows.prefect_server.server import configured_url
from flows.tasks.artifacts import publish_report
from flows.tasks.failure_state import failure_state
from flows.tasks.gates_task import gates_task
from flows.tasks.stage_task import stage_task
from flows.workers.dispatch import Dispatcher
from flows.workers.local_engine import start_engine
from stages.base.errors import EXIT_UNAVAILABLE, InkflowError

NAME = "inkflow"
REPORT = "report"  # the stage whose outputs are published and whose gates are checked
FLUSH_S = 10.0

mask_logs()


def run_as_flow(engine: Engine, arguments: dict[str, Any]) -> State[Any]:
    """Run the stages of a started `engine` as a run of the pipeline's flow, and return its final state.

    `arguments` are shown as the run's parameters.
    """
    return run_flow(NAME, lambda: run_stages(engine), arguments)


def run_flow(name: str, body: Callable[[], State[Any]], arguments: dict[str, Any]) -> State[Any]:
    """Call `body` in a run of the flow `name`, and return its final state.

    Logs and events are sent before it returns, since a temporary server ends right after the run.
    """

    def flow_function(arguments: dict[str, Any]) -> State[Any]:
        return body()

    state: State[Any] = Flow(fn=flow_function, name=name, persist_result=False)(
        mask_content(arguments), return_state=True
    )
    APILogWorker.drain_all(timeout=FLUSH_S)
    EventsWorker.drain_all(timeout=FLUSH_S)
    return state


def run_stages(engine: Engine) -> State[Any]:
    """Follow the stages of a started `engine` with a task each, inside a flow, and return the flow's final state.

    If the chosen data set is unavailable and the run has a fallback, the stages run once more with the fallback.
    """
    run = engine.run
    try:
        _run_tasks(engine)
        if run.params and run.fallback not in (None, run.params.dataset) and _is_unavailable(run):
            _show_notice(run, fallback_notice(run.params.dataset, str(run.fallback)))
            run.reset()
            run.params = apply_settings({"dataset": run.fallback}, Path())
            _run_tasks(start_engine(run))
        if run.params and not run.errors and any(result.stage == REPORT for result in run.results):
            publish_report(Path())
            gates_task(run)(return_state=True)
    except InkflowError as error:
        run.errors[RUN_ITSELF] = error
    return Completed(message=run.summary) if run.error is None else failure_state(run.error)


def _run_tasks(engine: Engine) -> None:
    """Submit a task for each stage when it starts, and wait for all of them; errors are added to the run."""
    run = engine.run
    notice = stand_in_notice(run.params)
    if notice:
        _show_notice(run, notice)
    futures: list[PrefectFuture[State[Any]]] = []
    try:
        engine.connect_pools(Dispatcher(engine.policies.workers, None if run.temporary_server else configured_url()))
        for events in engine.events():
            futures.append(stage_task(events, engine.policies.of(events.stage.name)).submit())
    except KeyboardInterrupt:
        engine.interrupt()
        run.errors.setdefault(RUN_ITSELF, Interrupted("the run"))
    except BaseException:
        engine.interrupt()
        raise
    finally:
        engine.close()
    wait(futures)
    if notice and not run.errors:
        _show_notice(run, notice)


def _is_unavailable(run: Run) -> bool:
    """Return True if a stage failed because the source of its data is unavailable."""
    failures = (error for error in run.errors.values() if isinstance(error, StageFailed))
    return any(error.code == EXIT_UNAVAILABLE for error in failures)


def _show_notice(run: Run, notice: str) -> None:
    get_run_logger().warning(notice)
    run.display.notice(notice)
