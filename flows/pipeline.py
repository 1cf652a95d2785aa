"""Runs the pipeline as a Prefect flow, with a task run for each stage of DVC's graph.

A task ends `Cached` if DVC found the stage unchanged or restored it, `Completed` if it ran, `Failed` with the stage's
own message, and `Not run` after a failure upstream. Prefect's result caching is disabled: DVC's cache is the only one.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException
from prefect.futures import PrefectFuture, wait
from prefect.logging.handlers import APILogWorker
from prefect.states import Completed

from flows.core.errors import Interrupted, StageFailed
from flows.core.notices import fallback_notice, stand_in_notice
from flows.core.params_edit import apply_settings
from flows.core.redaction import mask_logs
from flows.core.signals import ignore_termination, raise_keyboard_interrupt
from flows.engine.display.plain import Display
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
FLUSH_S = 8.0  # for logs and events at the end of a run
CANCELLATION_POLL_S = 2.0

mask_logs()


def run_as_flow(engine: Engine, arguments: dict[str, Any]) -> State[Any]:
    """Run the stages of a started `engine` as a run of the pipeline's flow, and return its final state.

    `arguments` are shown as the run's parameters.
    """
    return run_flow(NAME, lambda: run_stages(engine), arguments, engine.run.display)


def run_flow(name: str, body: Callable[[], State[Any]], arguments: dict[str, Any], display: Display) -> State[Any]:
    """Call `body` in a run of the flow `name`, and return its final state.

    Logs and events are sent before it returns, since a temporary server ends right after the run. `display` says so if
    the server has not accepted all of them within FLUSH_S.
    """

    def flow_function(arguments: dict[str, Any]) -> State[Any]:
        return body()

    state: State[Any] = Flow(fn=flow_function, name=name, persist_result=False)(arguments, return_state=True)
    deadline = time.monotonic() + FLUSH_S
    for worker, content in ((APILogWorker, "log lines"), (EventsWorker, "events")):
        answer = worker.drain_all(timeout=max(0.0, deadline - time.monotonic()))
        if isinstance(answer, tuple) and answer[1]:  # futures that are not done
            display.note(f"Prefect accepted only a part of the {content} of this run within {FLUSH_S:g} s")
    return state


@contextmanager
def watch_for_cancellation(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `interrupt` if the flow run of this context is cancelled in Prefect before the block ends.

    A deployed run needs no watch: its worker ends the process.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    ended = threading.Event()

    def watch(run_id: UUID) -> None:
        with get_client(sync_client=True) as client:
            while not ended.wait(CANCELLATION_POLL_S):
                with suppress(httpx.HTTPError, OSError, PrefectException):  # the next poll may succeed
                    state = client.read_flow_run(run_id).state
                    if state is not None and (state.is_cancelling() or state.is_cancelled()):
                        interrupt()
                        return

    if run is not None and run.deployment_id is None:
        threading.Thread(target=watch, args=[run.id], name="cancellation", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


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
        with watch_for_cancellation(engine.interrupt):
            for events in engine.events():
                futures.append(stage_task(events, engine.policies.of(events.stage.name)).submit())
    except KeyboardInterrupt:
        ignore_termination()  # Prefect's own handler would raise too
        engine.interrupt()
        raise_keyboard_interrupt()
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
