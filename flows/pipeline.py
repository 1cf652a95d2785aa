"""Runs the pipeline as a Prefect flow, with a task run for each stage of DVC's graph.

A task ends `Cached` if DVC found the stage unchanged or restored it, `Completed` if it ran, `Failed` with the stage's
own message, and `Not run` after a failure upstream. Prefect's result caching is disabled: DVC's cache is the only one.
"""

import concurrent.futures
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.futures import wait
from prefect.logging.handlers import APILogWorker
from prefect.states import Completed

from flows.core.errors import Interrupted, ServerUnreachable
from flows.core.notices import stand_in_notice
from flows.core.redaction import mask_content, mask_logs
from flows.core.signals import ignore_termination, raise_keyboard_interrupt
from flows.core.values import counted
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.run import RUN_ITSELF, Run
from flows.prefect_server.crashes import HEARTBEAT_EVENT
from flows.prefect_server.environment import HEARTBEAT_S
from flows.prefect_server.server_check import check_health, configured_url
from flows.status.renewal import renews_status
from flows.tasks.artifacts import publish_report, publishing
from flows.tasks.cancellation import watch_for_cancellation
from flows.tasks.failure_state import failure_state
from flows.tasks.gates_task import gates_task
from flows.tasks.own_settings import own_flow
from flows.tasks.run_heartbeat import run_heartbeat, without_own_heartbeats
from flows.tasks.run_name import name_run, run_subject
from flows.tasks.stage_task import Future, submit_stage
from flows.workers.dispatch import Dispatcher
from flows.workers.local_engine import REPORT, complete_run
from flows.workers.pool_stages import NoDispatcher

NAME = "inkflow"
FLUSH_S, BUSY_FLUSH_S = 8.0, 60.0  # for logs and events at the end of a run; the second while the server responds

mask_logs()


def run_as_flow(engine: Engine, arguments: dict[str, Any]) -> State[Any]:
    """Run the stages of a started `engine` as a run of the pipeline's flow, and return its final state.

    `arguments` are shown as the run's parameters.
    """

    def body() -> State[Any]:
        return run_stages(engine)

    renewing = body if engine.run.temporary_server else renews_status(body)  # whose page ends with the run
    return run_flow(NAME, renewing, arguments, engine.run.display)


def run_flow(name: str, body: Callable[[], State[Any]], arguments: dict[str, Any], display: Display) -> State[Any]:
    """Call `body` in a run of the flow `name`, and return its final state.

    Logs and events are sent before it returns, since a temporary server ends right after the run. `display` says so if
    the server has not accepted all of them within FLUSH_S, or BUSY_FLUSH_S if it responds.
    """

    def flow_function(arguments: dict[str, Any]) -> State[Any]:
        with run_heartbeat(HEARTBEAT_EVENT, HEARTBEAT_S):
            return body()

    with without_own_heartbeats():
        state: State[Any] = own_flow(name)(flow_function)(mask_content(arguments), return_state=True)
    for content, limit_s in _unsent():
        display.note(f"Prefect accepted only a part of the {content} of this run within {limit_s:g} s")
    return state


def _unsent() -> list[tuple[str, float]]:
    """Return what the server has not accepted of the run's logs and events, and the seconds that it had."""
    workers = ((APILogWorker, "log lines"), (EventsWorker, "events"))
    answers = [(worker.drain_all(timeout=0), content) for worker, content in workers]
    waiting = [(answer[1], content) for answer, content in answers if isinstance(answer, tuple)]
    futures = [future for unfinished, _ in waiting for future in unfinished]
    limit_s = FLUSH_S
    if concurrent.futures.wait(futures, FLUSH_S).not_done:
        with suppress(ServerUnreachable):
            check_health(str(configured_url()))
            limit_s = BUSY_FLUSH_S
            concurrent.futures.wait(futures, BUSY_FLUSH_S - FLUSH_S)
    return [(content, limit_s) for unfinished, content in waiting if not all(future.done() for future in unfinished)]


def run_stages(engine: Engine, *, edit: bool = True) -> State[Any]:
    """Follow the stages of a started `engine` with a task each, inside a flow, and return the flow's final state.

    Args:
        engine: the engine.
        edit: write a fallback data set into params.yaml; if False, the caller runs the stages once more.
    """
    run = engine.run
    futures: dict[str, Future] = {}
    name_run(run_subject(run), counted(len(engine.stages), "stage"))
    complete_run(
        engine,
        lambda engine: _run_tasks(engine, futures),
        lambda: _finish(run, futures[REPORT]),
        lambda notice: show_notice(run, notice),
        edit=edit,
    )
    name_run(run_subject(run), run.counts)
    return Completed(message=run.summary) if run.error is None else failure_state(run.error)


def _finish(run: Run, report: Future) -> None:
    """Publish the report of a task, and check its gates in the next one; artifacts that are not taken stop nothing."""
    with publishing("the report is", lambda notice: show_notice(run, notice)):
        publish_report(Path(), link=not run.in_clone)
    gates_task(run)(return_state=True, wait_for=[report])


def _run_tasks(engine: Engine, futures: dict[str, Future]) -> None:
    """Submit a task for each stage when it starts, and wait for all `futures`; errors are added to the run."""
    run = engine.run
    notice = stand_in_notice(run.params)
    if notice:
        show_notice(run, notice)
    try:
        workers, server = engine.policies.workers, str(configured_url())
        engine.connect_pools(NoDispatcher() if run.temporary_server else Dispatcher(workers, server))
        with watch_for_cancellation(engine.interrupt):
            for events in engine.events():
                stage = events.stage
                upstream = [futures[name] for name in stage.upstream if name in futures]
                futures[stage.name] = submit_stage(events, engine.policies.of(stage.name), upstream)
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
    wait(list(futures.values()))
    if notice and not run.errors:
        show_notice(run, notice)


def show_notice(run: Run, notice: str) -> None:
    """Show `notice` in the log of the flow run and on the display of `run`."""
    get_run_logger().warning(notice)
    run.display.notice(notice)
