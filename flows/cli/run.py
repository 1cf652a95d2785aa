"""`inkflow run`: checks first whether there is anything to do, and only then imports the code that runs stages."""

import argparse
import gc
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from flows.cli.selection import selection
from flows.core.errors import RemoteFailed
from flows.core.file_lock import run_lock
from flows.core.notices import NO_STAGES, stand_in_notice
from flows.core.own_data import check_own_data
from flows.core.params_edit import (
    ParamsEdit,
    check_dataset,
    edit_params,
    model_settings,
    parse_settings,
    written_params,
)
from flows.core.redaction import say
from flows.core.values import all_of, counted
from flows.dvc_repo import remotes
from flows.dvc_repo.recovery import recover
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.planning.stage_facts import Facts, nothing_to_do
from flows.engine.policy_check import environment_policies
from flows.engine.run import Options, Run
from stages.base.errors import EXIT_DONE


def run(arguments: argparse.Namespace) -> int:
    """Brings stages up to date and returns the exit code.

    Raises:
        InvalidInput: a parameter, a data set or a stage does not exist; params.yaml is as before.
        ServerUnreachable: the configured server does not answer; params.yaml is as before.
        InkflowError: the first error of the run. Its stages used the new parameters, which stay in params.yaml.
    """
    gc.disable()  # DVC creates objects for the whole graph that all stay alive: without collections it is 10 % faster
    root = Path()
    try:
        with run_lock(root, say, shared=not _may_edit(arguments)):
            recover(root)
            edit = edit_params(_settings(arguments, root), root)
            check_dataset(edit.params, arguments.fallback)
            check_own_data(edit.params, root)
            with written_params(edit, root):
                _begin_exchange(root, pull=arguments.pull, push=arguments.push)
                done = _run(arguments, edit)
            if arguments.push and not done.is_interrupted:
                with suppress(RemoteFailed) if done.error else nullcontext():  # the first error is the one to report
                    say(f"DVC remote: {remotes.push_all(root)}")
            if done.error is not None:
                raise done.error
            return EXIT_DONE
    finally:
        gc.enable()


def _may_edit(arguments: argparse.Namespace) -> bool:
    """Returns whether the run may change params.yaml, which other runs in the folder read: it is then alone there."""
    return bool(arguments.set or arguments.with_models or arguments.dataset or arguments.fallback)


def _settings(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Returns the settings of params.yaml that the arguments ask for."""
    dataset = {"dataset": arguments.dataset} if arguments.dataset else {}
    return model_settings(arguments.with_models, root) | parse_settings(arguments.set) | dataset


def _run(arguments: argparse.Namespace, edit: ParamsEdit) -> Run:
    """Runs the stages that are not up to date, and returns the run with its errors; raises those that prevent it."""
    policies = environment_policies(Path(), local=arguments.local)
    repository = Repository(pull=arguments.pull, policies=policies)
    targets, scope = selection(arguments, repository)
    options = Options(arguments.jobs, arguments.force, arguments.keep_going, arguments.local, arguments.pull, scope)
    facts = repository.facts(targets, scope)
    if policies is not None:
        _print_differences(facts)
    if not facts or (not options.force and nothing_to_do(facts)):
        repository.close()
        _report_nothing_to_do(len(facts), stand_in_notice(edit.params))
        return Run()
    gc.enable()
    from flows.cli.interactive_run import interactive_run  # late: not needed if there is nothing to do

    run = Run(targets, options, params=edit.params, fallback=arguments.fallback)
    interactive_run(repository, [stage.stage for stage in facts], run, with_server=not arguments.no_server)
    return run


def _print_differences(facts: Sequence[Facts]) -> None:
    """Prints how the environment differs from that of the recorded outputs, as far as that is no reason to run."""
    from flows.engine.environment.stage_environment import notices  # late: few projects need it

    display = Display()
    for notice in notices({stage.stage.name: stage.differences for stage in facts}):
        display.note(f"note: {notice}")


def _begin_exchange(root: Path, *, pull: bool, push: bool) -> None:
    """Pulls the run cache of the DVC remote, or checks that results can be pushed after the run.

    Raises:
        NoRemote: no remote is configured.
        RemoteFailed: the remote cannot be used.
    """
    if pull:
        say(f"DVC remote: {counted(remotes.pull_run_cache(root), 'new entry', 'new entries')} of the run cache pulled")
    elif push:
        remotes.require_remote(root)


def _report_nothing_to_do(count: int, notice: str | None) -> None:
    display = Display()
    if not count:
        display.note(NO_STAGES)
        return
    if notice:
        display.notice(notice)
    display.note(f"Nothing to do: {all_of(count, 'stage')} unchanged.")
