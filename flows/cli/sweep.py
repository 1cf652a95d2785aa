"""`inkflow sweep`: runs combinations of parameters in parallel and records each as a DVC experiment."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.cli.interactive_run import INTERRUPTED_DISPLAY_S, load_prefect, note_lost_server
from flows.cli.output import print_json, shown
from flows.core.redaction import mask
from flows.core.signals import ignore_termination
from flows.dvc_repo.repository import Repository
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.policy import load_policies
from flows.experiments.grid import check_combinations, parse_combinations
from flows.experiments.sweep_runner import SweepRunner, Trial
from flows.prefect_server.server import Server
from stages.base.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

MAX_METRICS = 8  # columns that fit a terminal; --json has all metrics


def sweep(arguments: argparse.Namespace) -> int:
    """Runs all combinations and returns the exit code.

    Raises:
        InvalidInput: a combination, a parameter or a stage is invalid; no stage ran.
    """
    root = Path()
    trial_settings = parse_combinations(arguments.grid, arguments.list, arguments.file)
    check_combinations(trial_settings, root)
    load_policies(root)
    with Repository(root) as repository:
        arguments.stages = repository.resolve(arguments.stages, arguments.folder)
    display = SilentDisplay() if arguments.json else BufferedDisplay(Display([item.name for item in trial_settings]))
    runner = SweepRunner(root, trial_settings, arguments.stages, arguments.jobs, display)
    is_interrupted = True
    try:
        with Server(root) as server:
            display.note(f"{server.announcement}\n{len(trial_settings)} combinations; the workspace does not change")
            _run_flow(runner, server, arguments)
        display.note(runner.summary)
        is_interrupted = any(trial.state == "not run" for trial in runner.trials)
    finally:
        display.close(INTERRUPTED_DISPLAY_S if is_interrupted else None)
    trials = runner.trials
    if arguments.json:
        print_json({"trials": [_row(trial) for trial in trials]})
    else:
        _print_table(trials)
    if is_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(trial.error for trial in trials) else EXIT_DONE


def _run_flow(runner: SweepRunner, server: Server, arguments: argparse.Namespace) -> None:
    """Runs the trials as tasks of a Prefect flow."""
    combinations = [dict(trial.combination.settings) for trial in runner.trials]
    try:
        try:
            load_prefect(server)
            from flows.sweep import sweep_as_flow  # late: needs Prefect

            sweep_as_flow(runner, {"combinations": combinations, "targets": arguments.stages, "jobs": arguments.jobs})
        except Exception:
            if runner.crash is None and server.responds():
                raise
            note_lost_server(server.failure(), runner.display)
            runner.run()
    except BaseException:
        ignore_termination()
        runner.interrupt()
        raise
    if runner.crash is not None:
        raise runner.crash


def _row(trial: Trial) -> dict[str, Any]:
    """Returns one trial as `--json` prints it."""
    return {
        "combination": dict(trial.combination.settings),
        "experiment": None if trial.error else trial.experiment,
        "state": trial.state,
        "metrics": trial.metrics,
        "message": str(trial.error or trial.summary),
    }


def _print_table(trials: Sequence[Trial]) -> None:
    from rich.console import Console  # late: --json needs no table
    from rich.table import Table

    flat = [_flat(trial.metrics) for trial in trials]
    every = list(dict.fromkeys(name for metrics in flat for name in metrics))
    # A metric with the same value in all trials does not help to compare them.
    differing = [name for name in every if len({str(metrics.get(name)) for metrics in flat}) > 1]
    names = (differing or every)[:MAX_METRICS]
    table = Table(box=None, pad_edge=False)
    for column in ("experiment", "state", *names):
        table.add_column(column, overflow="fold", justify="right" if column in names else "left")
    for trial, metrics in zip(trials, flat, strict=True):
        numbers = [_format_metric(metrics.get(name)) for name in names]
        table.add_row(shown(trial.experiment), trial.state, *numbers)
    Console().print(table)
    for trial in trials:
        if trial.error:
            print(mask(f"{trial.state}: {trial.combination.name}: {trial.error}"))
    if any(not trial.error for trial in trials):
        print("\n`dvc exp show` compares them; `dvc exp apply NAME` copies one into the workspace")


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    """Returns the numbers of all metrics files by name, with the file before a name that several files have."""
    leaves = [(path, key, value) for path, content in metrics.items() for key, value in _leaves(content)]
    keys = [key for _, key, _ in leaves]
    return {key if keys.count(key) == 1 else f"{path}:{key}": value for path, key, value in leaves}


def _leaves(content: Any, parent: str = "") -> list[tuple[str, Any]]:
    """Returns the numbers in `content`, each with its dotted key."""
    if not isinstance(content, dict):
        return [(parent, content)] if isinstance(content, int | float) else []
    prefix = f"{parent}." if parent else ""
    return [leaf for key, value in content.items() for leaf in _leaves(value, f"{prefix}{key}")]


def _format_metric(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
