"""The pipeline as a Prefect flow: one task run for each stage of DVC's graph, side by side where the graph allows it.

A task ends `Cached` when DVC found the stage unchanged or restored it, `Completed` when it ran, `Failed` with the
stage's own message, `Not run` behind a failure. Prefect's result caching stays off: DVC's cache is the only one,
and it tells the truth.
"""

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
from flows.core.redaction import mask_logs
from flows.engine.engine import Engine
from flows.engine.run import RUN_ITSELF, Run
from flows.prefect_server.server import named
from flows.tasks.artifacts import publish
from flows.tasks.failure_state import failed
from flows.tasks.gates_task import gates_task
from flows.tasks.stage_task import stage_task
from flows.workers.dispatch import Dispatch
from flows.workers.local_engine import start_engine
from stages.base.errors import EXIT_UNAVAILABLE, InkflowError

NAME = "inkflow"
REPORT = "report"  # the stage after which there is something to show and to judge
DELIVERY_S = 10.0

mask_logs()


def run_as_flow(engine: Engine, arguments: dict[str, Any]) -> State[Any]:
    """Show the run of an `engine` that has started already as a run of the flow, with these `arguments`."""

    def inkflow(arguments: dict[str, Any]) -> State[Any]:
        return run_stages(engine)

    state: State[Any] = Flow(fn=inkflow, name=NAME, persist_result=False)(arguments, return_state=True)
    deliver()
    return state


def deliver() -> None:
    """Send what Prefect has queued for its server: a temporary one ends right after the run."""
    APILogWorker.drain_all(timeout=DELIVERY_S)
    EventsWorker.drain_all(timeout=DELIVERY_S)


def run_stages(engine: Engine) -> State[Any]:
    """Follow the run of a started `engine` with a task a stage, inside a flow; the flow's final state.

    Where the chosen data set cannot be had and the run has a fallback, the stages are run once more with that.
    """
    run = engine.run
    try:
        _follow(engine)
        if run.params and run.fallback not in (None, run.params.dataset) and _is_unavailable(run):
            _show_notice(run, fallback_notice(run.params.dataset, str(run.fallback)))
            run.reset()
            run.params = apply_settings({"dataset": run.fallback}, Path())
            _follow(start_engine(run))
        if run.params and not run.errors and any(result.stage == REPORT for result in run.results):
            publish(Path())
            gates_task(run)(return_state=True)
    except InkflowError as error:
        run.errors[RUN_ITSELF] = error
    return Completed(message=run.summary) if run.error is None else failed(run.error)


def _follow(engine: Engine) -> None:
    """Submit a task for each stage as it starts, until all have ended; errors are in the run afterwards."""
    run = engine.run
    notice = stand_in_notice(run.params)
    if notice:
        _show_notice(run, notice)
    futures: list[PrefectFuture[State[Any]]] = []
    try:
        engine.connect_pools(Dispatch(engine.policies.workers, None if run.temporary_server else named()))
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
    """True where a stage failed since its data cannot be had now."""
    failures = (error for error in run.errors.values() if isinstance(error, StageFailed))
    return any(error.code == EXIT_UNAVAILABLE for error in failures)


def _show_notice(run: Run, notice: str) -> None:
    get_run_logger().warning(notice)
    run.display.notice(notice)
