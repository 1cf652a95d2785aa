"""`inkflow run`: looks first whether there is anything to do, and only then loads what does it."""

import argparse
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.core.errors import RemoteFailed, ServerUnreachable
from flows.core.file_lock import only_run_here
from flows.core.notices import stand_in_notice
from flows.core.params_edit import PATH, Edited, check_dataset, edited_params, parse_settings, with_models
from flows.dvc_repo import remotes
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.planning.stage_facts import nothing_to_do
from flows.engine.recovery import put_in_order
from flows.engine.run import Options, Run
from stages.base.errors import EXIT_DONE, InkflowError, InvalidInput
from stages.base.files import write_text


def run(arguments: argparse.Namespace) -> int:
    """Bring stages up to date and give the exit code.

    Raises:
        InvalidInput: a parameter, a data set or a stage is not known; nothing was changed.
        ServerUnreachable: the server that is named does not answer; nothing was changed.
    """
    gc.disable()  # DVC's objects of the whole graph are about to be made, and all of them stay: a tenth of the time
    root = Path()
    try:
        with only_run_here(root, print):
            put_in_order(root)
            edited = edited_params(_settings(arguments, root), root)
            check_dataset(edited.params, arguments.fallback)
            with _written(edited, root), exchanging(root, pull=arguments.pull, push=arguments.push):
                return _run(arguments, edited)
    finally:
        gc.enable()


def _settings(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """The edits of params.yaml that the arguments ask for."""
    chosen = {"dataset": arguments.dataset} if arguments.dataset else {}
    return with_models(arguments.with_models, root) | parse_settings(arguments.set) | chosen


def _run(arguments: argparse.Namespace, edited: Edited) -> int:
    """Run what is not as recorded; the exit code."""
    options = Options(arguments.jobs, arguments.force, arguments.keep_going, arguments.local, arguments.pull)
    repository = Repository(pull=options.pull)
    facts = repository.facts(arguments.stages)
    if not options.force and nothing_to_do(facts):
        repository.close()
        return _say_nothing_to_do(Display(), len(facts), stand_in_notice(edited.params))
    gc.enable()
    from flows.cli.interactive_run import interactive_run  # late: not needed where there is nothing to do

    run = Run(arguments.stages, options, params=edited.params, fallback=arguments.fallback)
    return interactive_run(repository, [stage.stage for stage in facts], run)


@contextmanager
def exchanging(root: Path, *, pull: bool, push: bool) -> Iterator[None]:
    """Get the remote's run cache before the block, and send results and run cache after it.

    What finished is sent after a failure too: it need not be computed again.

    Raises:
        NoRemote: there is none, before anything else.
        RemoteFailed: the remote cannot be used; after a failure in the block, that one is raised.
    """
    if pull:
        print(f"DVC remote: {remotes.pull_run_cache(root)} new entries of the run cache pulled", flush=True)
    elif push:
        remotes.need_remote(root)
    try:
        yield
    except InvalidInput:
        raise  # nothing was run
    except InkflowError:
        if push:
            with suppress(RemoteFailed):  # the first failure is the one to report
                _push(root)
        raise
    if push:
        _push(root)


def _push(root: Path) -> None:
    print(f"DVC remote: {remotes.push_all(root)}", flush=True)


@contextmanager
def _written(edited: Edited, root: Path) -> Iterator[None]:
    """The edited parameters in place, and taken back when the run is refused."""
    changed = edited.text != edited.before
    if changed:
        write_text(root / PATH, edited.text)
    try:
        yield
    except (InvalidInput, ServerUnreachable):
        if changed:
            write_text(root / PATH, edited.before)
        raise


def _say_nothing_to_do(display: Display, count: int, notice: str | None) -> int:
    if notice:
        display.notice(notice)
    display.note(f"Nothing to do: all {count} stages are unchanged.")
    return EXIT_DONE
