"""A run in this process, with a person watching: the engine starts first, Prefect joins it when it is loaded."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.policy import load_policies
from flows.engine.run_state import Options, Session
from flows.engine.types import Stage
from flows.prefect_server.server import HEARTBEAT, Server
from stages.base.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

OPENED_FIRST = (".html", ".md")  # of the results: pages, then texts
SHOWN = 3  # results that are named at the end of a run
PREFECT_SETTINGS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the display speaks to the terminal, Prefect to its server
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    **HEARTBEAT,
}


def watched_run(repository: Repository, stages: Sequence[Stage], arguments: argparse.Namespace) -> int:
    """Bring `stages` up to date and give the exit code.

    Raises:
        PolicyInvalid, ServerUnreachable: before anything starts.
        InkflowError: the first error of the run.
    """
    policies = load_policies(repository.root)
    with Server(repository.root) as server:
        session = Session(_display([stage.name for stage in stages]))
        options = Options(arguments.jobs, arguments.force, arguments.keep_going, arguments.local)
        session.temporary_server = server.is_temporary
        session.early = Engine(repository, policies, session, options)
        try:
            return _run_flow(session, server, arguments, stages)
        finally:
            session.display.close()


def _run_flow(session: Session, server: Server, arguments: argparse.Namespace, stages: Sequence[Stage]) -> int:
    """Run the flow; the engine starts before it, so that stages run while Prefect is still loading."""
    engine = session.early
    assert engine is not None
    session.display.note(server.announcement)
    engine.start(arguments.stages)
    try:
        with _ending_at_once(engine, server, session.display):
            pipeline = load_prefect()
            server.wait_until_ready()
        pipeline.session.set(session)
        state = pipeline.pipeline(
            targets=arguments.stages,
            fallback=arguments.fallback,
            force=arguments.force,
            jobs=arguments.jobs,
            keep_going=arguments.keep_going,
            local=arguments.local,
            return_state=True,
        )
        pipeline.deliver()
    except BaseException:
        engine.interrupt()
        engine.close()
        raise
    session.display.note(session.summary)
    if session.error is not None:
        raise session.error
    session.display.note(f"Results: {results(stages)}")
    return EXIT_DONE if state.is_completed() else EXIT_FAILED


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


def load_prefect() -> ModuleType:
    """The module of the flow; Prefect reads its settings, and costs 2 s, when it is imported."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    from flows import pipeline

    return pipeline


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
