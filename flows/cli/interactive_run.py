"""A run in this process with output on the terminal: the engine starts first, and Prefect joins once it is imported."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from flows.cli.run_summary import end_of_run
from flows.core.errors import ServerUnreachable
from flows.core.redaction import mask
from flows.core.signals import call_in_thread, ignore_termination
from flows.dvc_repo.repository import Repository
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display
from flows.engine.display.styles import is_live_terminal
from flows.engine.engine import Engine
from flows.engine.run import GATES, Run
from flows.engine.timings import Timings
from flows.engine.types import Stage
from flows.prefect_server.server import Server
from flows.workers.local_engine import complete_without_server, make_engine
from flows.workers.pool_stages import NoDispatcher

SUFFIX_ORDER = (".html", ".md")  # pages before texts before all other outputs
INTERRUPTED_DISPLAY_S = 2.0  # after an interrupt, for lines that are not displayed yet
PREPARATION_S = 0.5  # for the start of the first commands, which the import of Prefect would slow down
MAX_NAMED = 3  # outputs at the end of a run


def interactive_run(repository: Repository, stages: Sequence[Stage], run: Run, *, with_server: bool = True) -> None:
    """Brings `stages` up to date; `run` has the errors.

    The engine starts before Prefect is imported, so that the first stages run during the import. The run does not
    depend on a temporary server; it needs none if `with_server` is False.

    Raises:
        PolicyInvalid, ServerUnreachable: before anything starts.
    """
    with Server(repository.root, is_wanted=with_server) as server:
        started_s, is_interrupted = time.monotonic(), True
        try:
            display = _make_display([stage.name for stage in stages])
            run.display = BufferedDisplay(display)
            run.temporary_server = server.is_temporary
            engine = make_engine(repository, run)
            run.display.note(server.announcement)
            _follow(engine, stages, server if with_server else None)
            for line in end_of_run(run, time.monotonic() - started_s):
                run.display.note(line)
            if run.error is None or set(run.errors) == {GATES}:
                run.display.note(f"Results: {name_outputs(stages) or 'none'}")
            elif display.log_path:
                run.display.note(f"All lines of the stages: {display.log_path}")
            is_interrupted = run.is_interrupted
        finally:
            run.display.close(INTERRUPTED_DISPLAY_S if is_interrupted else None)


def _follow(engine: Engine, stages: Sequence[Stage], server: Server | None) -> None:
    """Starts `engine` on `stages` and follows it to its end, with `server` as long as that responds."""
    try:
        engine.start(stages)
        if server is not None:
            _run_flow(engine, server)
        if not engine.run.has_ended:
            complete_without_server(engine, _refusal_of_pools(server))
    except BaseException:
        ignore_termination()
        engine.interrupt()
        engine.close()
        raise


def _refusal_of_pools(server: Server | None) -> NoDispatcher:
    """Returns the refusal of stages in work pools of a run that has no server, or goes on without `server`."""
    if server is None:
        advice = "leave that option out, and name a server with PREFECT_API_URL"
        return NoDispatcher("`--no-server` lets this run use no Prefect server", advice)
    if server.is_temporary:
        return NoDispatcher()
    return NoDispatcher(f"the Prefect server at {mask(str(server.url))} was lost", "run again when it responds")


def _run_flow(engine: Engine, server: Server) -> None:
    """Runs the flow that reports the run of a started `engine`; notes why, if there is no server for it."""
    run = engine.run
    try:
        engine.wait_until_computing(PREPARATION_S)
        load_prefect(server)
        from flows.pipeline import run_as_flow  # late: imported by load_prefect

        run_as_flow(engine, {"targets": list(run.targets), "fallback": run.fallback, **asdict(run.options)})
    except ServerUnreachable as error:
        note_lost_server(error, run.display)
    except Exception:
        if server.responds():
            raise
        note_lost_server(server.failure(), run.display)


def load_prefect(server: Server) -> None:
    """Imports Prefect with our settings, and waits until `server` responds; an interrupt ends it at once.

    Raises:
        ServerUnreachable: the temporary server cannot be used.
    """

    def load() -> None:
        import flows.pipeline  # noqa: F401 - late: Prefect takes 2 s to import, and reads its settings then

        server.wait_until_ready()

    with server.settings():
        call_in_thread(load)


def note_lost_server(error: ServerUnreachable, display: Display) -> None:
    """Shows that a run goes on without its server, and why."""
    display.notice(f"{error}; the run goes on without it")


def name_outputs(stages: Sequence[Stage]) -> str:
    """Names the first outputs of the last stages, pages first, and counts the others.

    A last stage is one with a command whose outputs no other stage of `stages` reads.
    """
    upstream = {name for stage in stages for name in stage.upstream}
    last = [stage for stage in stages if stage.has_command and stage.name not in upstream]
    outputs = [output for stage in last for output in stage.outputs]
    order = {suffix: index for index, suffix in enumerate(SUFFIX_ORDER)}
    named = sorted(outputs, key=lambda output: order.get(Path(output).suffix, len(order)))[:MAX_NAMED]
    return ", ".join(named) + (f" and {len(outputs) - len(named)} more" if len(outputs) > len(named) else "")


def _make_display(names: Sequence[str]) -> Display:
    """Returns a live display on a terminal that can show one, else one that prints plain lines."""
    if not is_live_terminal():
        return Display(names)
    from flows.engine.display.live import LiveDisplay  # late: a run with nothing to do shows one line

    timings = Timings(Path())
    return LiveDisplay(names, expected_s={name: timings.expected_s(name) for name in names})
