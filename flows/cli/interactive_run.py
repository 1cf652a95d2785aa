"""A run in this process with output on the terminal: the engine starts first, and Prefect joins once it is imported."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.core.errors import Interrupted
from flows.core.signals import call_in_thread, ignore_termination
from flows.dvc_repo.repository import Repository
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.run import Run
from flows.engine.types import Stage
from flows.prefect_server.environment import HEARTBEAT
from flows.prefect_server.server import Server
from flows.workers.local_engine import make_engine
from stages.base.errors import EXIT_DONE, EXIT_FAILED

SUFFIX_ORDER = (".html", ".md")  # pages before texts before all other outputs
INTERRUPTED_DISPLAY_S = 2.0  # after an interrupt, for lines that are not displayed yet
MAX_NAMED = 3  # outputs at the end of a run
PREFECT_SETTINGS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the display writes to the terminal, Prefect to its server
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    **HEARTBEAT,
}


def interactive_run(repository: Repository, stages: Sequence[Stage], run: Run) -> int:
    """Brings `stages` up to date and returns the exit code.

    The engine starts before Prefect is imported, so that stages run during the import.

    Raises:
        PolicyInvalid, ServerUnreachable: before anything starts.
        InkflowError: the first error of the run.
    """
    with Server(repository.root) as server:
        run.display = BufferedDisplay(_make_display([stage.name for stage in stages]))
        run.temporary_server = server.is_temporary
        engine = make_engine(repository, run)
        is_interrupted = True
        try:
            run.display.note(server.announcement)
            state = _run_flow(engine, stages, server)
            run.display.note(run.summary)
            if run.error is None:
                run.display.note(f"Results: {name_outputs(stages)}")
            is_interrupted = isinstance(run.error, Interrupted)
        finally:
            run.display.close(INTERRUPTED_DISPLAY_S if is_interrupted else None)
    if run.error is not None:
        raise run.error
    return EXIT_DONE if state.is_completed() else EXIT_FAILED


def _run_flow(engine: Engine, stages: Sequence[Stage], server: Server) -> Any:
    """Starts `engine` on `stages`, runs the flow that reports its run, and returns the flow's final state."""
    run = engine.run
    try:
        engine.start(stages)
        load_prefect(server)
        from flows.pipeline import run_as_flow  # late: imported by load_prefect

        return run_as_flow(engine, {"targets": list(run.targets), "fallback": run.fallback, **asdict(run.options)})
    except BaseException:
        ignore_termination()
        engine.interrupt()
        engine.close()
        raise


def load_prefect(server: Server) -> None:
    """Imports Prefect with our settings, and waits until `server` responds; an interrupt ends it at once."""
    set_prefect_defaults()

    def load() -> None:
        import flows.pipeline  # noqa: F401 - late: Prefect takes 2 s to import, and reads its settings then

        server.wait_until_ready()

    call_in_thread(load)


def set_prefect_defaults() -> None:
    """Puts our Prefect settings into the environment, unless the user set others; call it before Prefect's import."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)


def name_outputs(stages: Sequence[Stage]) -> str:
    """Names the first outputs of the last stages, pages first, and counts the others.

    A last stage is one whose outputs no other stage of `stages` reads.
    """
    upstream = {name for stage in stages for name in stage.upstream}
    outputs = [output for stage in stages if stage.name not in upstream for output in stage.outputs]
    order = {suffix: index for index, suffix in enumerate(SUFFIX_ORDER)}
    named = sorted(outputs, key=lambda output: order.get(Path(output).suffix, len(order)))[:MAX_NAMED]
    return ", ".join(named) + (f" and {len(outputs) - len(named)} more" if len(outputs) > len(named) else "")


def _make_display(names: Sequence[str]) -> Display:
    """Returns a live display on a terminal, else one that prints plain lines."""
    from flows.engine.display.live import LiveDisplay  # late: a run with nothing to do shows one line

    return LiveDisplay(names) if sys.stdout.isatty() else Display(names)
