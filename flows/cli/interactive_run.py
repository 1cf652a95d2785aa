"""A run in this process, with a person watching: the engine starts first, Prefect joins it when it is loaded."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.run import Run
from flows.engine.types import Stage
from flows.prefect_server.environment import HEARTBEAT
from flows.prefect_server.server import Server
from flows.workers.local_engine import make_engine
from stages.base.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

OPENED_FIRST = (".html", ".md")  # of the results: pages, then texts
SHOWN = 3  # results that are named at the end of a run
PREFECT_SETTINGS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the display speaks to the terminal, Prefect to its server
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    **HEARTBEAT,
}


def interactive_run(repository: Repository, stages: Sequence[Stage], run: Run) -> int:
    """Bring `stages` up to date and give the exit code.

    The engine starts before Prefect is imported, so that stages run meanwhile.

    Raises:
        PolicyInvalid, ServerUnreachable: before anything starts.
        InkflowError: the first error of the run.
    """
    with Server(repository.root) as server:
        run.display = _display([stage.name for stage in stages])
        run.temporary_server = server.is_temporary
        engine = make_engine(repository, run)
        try:
            run.display.note(server.announcement)
            engine.start(stages)
            state = _run_flow(engine, server)
            run.display.note(run.summary)
            if run.error is None:
                run.display.note(f"Results: {results(stages)}")
        finally:
            run.display.close()
    if run.error is not None:
        raise run.error
    return EXIT_DONE if state.is_completed() else EXIT_FAILED


def _run_flow(engine: Engine, server: Server) -> Any:
    """The final state of the flow that shows the run of a started `engine`."""
    run = engine.run
    try:
        with _ending_at_once(engine, server, run.display):
            set_prefect_defaults()
            from flows.pipeline import run_as_flow  # late: Prefect takes 2 s to import, and reads its settings then

            server.wait_until_ready()
        return run_as_flow(engine, {"targets": list(run.targets), "fallback": run.fallback, **asdict(run.options)})
    except BaseException:
        engine.interrupt()
        engine.close()
        raise


@contextmanager
def _ending_at_once(engine: Engine, server: Server, display: Display) -> Iterator[None]:
    """Meet Ctrl-C and a request to end without an exception: what is loading now would make something else of it."""

    def end(*_: object) -> None:
        engine.interrupt()
        engine.close()
        server.end()
        display.close()  # which hid the cursor
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    yield
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # a request to end is met as Ctrl-C is


def set_prefect_defaults() -> None:
    """Put our settings of Prefect into the environment, where nobody set others; to be done before its import."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)


def results(stages: Sequence[Stage]) -> str:
    """The outputs that a person opens first, of the stages that no other stage of `stages` reads."""
    read = {name for stage in stages for name in stage.upstream}
    outputs = [output for stage in stages if stage.name not in read for output in stage.outputs]
    order = {suffix: place for place, suffix in enumerate(OPENED_FIRST)}
    first = sorted(outputs, key=lambda output: order.get(Path(output).suffix, len(order)))[:SHOWN]
    return ", ".join(first) + (f" and {len(outputs) - len(first)} more" if len(outputs) > len(first) else "")


def _display(names: Sequence[str]) -> Display:
    """A live display on a terminal, plain lines elsewhere."""
    from flows.engine.display.live import LiveDisplay, is_terminal  # late: a run with nothing to do shows one line

    return LiveDisplay(names) if is_terminal() else Display(names)
