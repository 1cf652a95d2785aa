"""A run in this process with output on the terminal: the engine starts first, and Prefect joins once it is imported."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from flows.core.errors import ServerUnreachable
from flows.core.signals import TERMINATION_SIGNALS, raise_keyboard_interrupt
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.run import Run
from flows.engine.types import Stage
from flows.prefect_server.server import Server
from flows.workers.local_engine import complete_without_server, make_engine
from stages.base.errors import EXIT_DONE, EXIT_INTERRUPTED

SUFFIX_ORDER = (".html", ".md")  # pages before texts before all other outputs
MAX_NAMED = 3  # outputs at the end of a run


def interactive_run(repository: Repository, stages: Sequence[Stage], run: Run, *, with_server: bool = True) -> int:
    """Brings `stages` up to date and returns the exit code.

    The engine starts before Prefect is imported, so that stages run during the import. The run does not depend on a
    temporary server; it needs none if `with_server` is False.

    Raises:
        PolicyInvalid, ServerUnreachable: before anything starts.
        InkflowError: the first error of the run.
    """
    with Server(repository.root, is_wanted=with_server) as server:
        run.display = _make_display([stage.name for stage in stages])
        run.temporary_server = server.is_temporary
        engine = make_engine(repository, run)
        try:
            run.display.note(server.announcement)
            engine.start(stages)
            if with_server:
                _run_flow(engine, server)
            if not run.has_ended:
                raise_keyboard_interrupt()
                complete_without_server(engine)
            run.display.note(run.summary)
            if run.error is None:
                run.display.note(f"Results: {name_outputs(stages)}")
        finally:
            run.display.close()
    if run.error is not None:
        raise run.error
    return EXIT_DONE


def _run_flow(engine: Engine, server: Server) -> None:
    """Runs the flow that reports the run of a started `engine`; notes why, if there is no server for it."""
    run = engine.run
    try:
        with _exit_on_signals(engine, server, run.display), server.settings():
            from flows.pipeline import run_as_flow  # late: Prefect takes 2 s to import, and reads its settings then

            server.wait_until_ready()
        run_as_flow(engine, {"targets": list(run.targets), "fallback": run.fallback, **asdict(run.options)})
    except ServerUnreachable as error:
        note_lost_server(error, run.display)
    except Exception:
        if server.responds():
            engine.interrupt()
            engine.close()
            raise
        note_lost_server(server.failure(), run.display)
    except BaseException:
        engine.interrupt()
        engine.close()
        raise


@contextmanager
def _exit_on_signals(engine: Engine, server: Server, display: Display) -> Iterator[None]:
    """Ends the process on SIGINT or SIGTERM during the block, without an exception: an import could swallow it."""

    def exit_now(*_: object) -> None:
        engine.interrupt()
        engine.close()
        server.stop()
        display.close()  # shows the cursor again
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)

    for number in TERMINATION_SIGNALS:
        signal.signal(number, exit_now)
    yield
    raise_keyboard_interrupt()


def note_lost_server(error: ServerUnreachable, display: Display) -> None:
    """Shows that a run goes on without its server, and why."""
    display.notice(f"{error}; the run goes on without it")


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
