"""`inkflow sweep`: combinations of parameters side by side, each recorded as a DVC experiment."""

import argparse
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.cli.interactive_run import set_prefect_defaults
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.policy import load_policies
from flows.experiments.grid import check, combinations
from flows.experiments.sweep_runner import SweepRunner, Trial
from flows.prefect_server.server import Server
from stages.base.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

MOST_METRICS = 8  # columns that a terminal can hold; --json has all


def sweep(arguments: argparse.Namespace) -> int:
    """Try all combinations and give the exit code.

    Raises:
        InvalidInput: a combination, a parameter or a stage cannot be used; nothing was run.
    """
    root = Path()
    found = combinations(arguments.grid, arguments.list, arguments.file)
    check(found, root)
    load_policies(root)
    with Repository(root) as repository:
        repository.stages(arguments.stages)
    display = SilentDisplay() if arguments.json else Display([combination.name for combination in found])
    runner = SweepRunner(root, found, arguments.stages, arguments.jobs, display)
    with Server(root) as server:
        display.note(f"{server.announcement}\n{len(found)} combinations; the workspace stays as it is")
        _run_flow(runner, server, arguments)
    display.note(runner.summary)
    trials = runner.trials
    if arguments.json:
        print(json.dumps({"trials": [_row(trial) for trial in trials]}, indent=2, ensure_ascii=False))
    else:
        _print_table(trials)
    if any(trial.state == "not run" for trial in trials):
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(trial.error for trial in trials) else EXIT_DONE


def _run_flow(runner: SweepRunner, server: Server, arguments: argparse.Namespace) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # a request to end is met as Ctrl-C is
    set_prefect_defaults()
    from flows.sweep import sweep_as_flow  # late: Prefect takes 2 s to import, and reads its settings then

    server.wait_until_ready()
    combinations = [dict(trial.combination.settings) for trial in runner.trials]
    sweep_as_flow(runner, {"combinations": combinations, "targets": arguments.stages, "jobs": arguments.jobs})
    if runner.crash is not None:
        raise runner.crash


def _row(trial: Trial) -> dict[str, Any]:
    """One trial in the form of `--json`."""
    return {
        "combination": dict(trial.combination.settings),
        "experiment": None if trial.error else trial.combination.experiment,
        "state": trial.state,
        "metrics": trial.metrics,
        "message": str(trial.error or trial.summary),
    }


def _print_table(trials: Sequence[Trial]) -> None:
    from rich.console import Console  # late: --json needs no table
    from rich.table import Table

    flat = [_flat(trial.metrics) for trial in trials]
    every = list(dict.fromkeys(name for metrics in flat for name in metrics))
    # What is the same in all says nothing of the combinations.
    telling = [name for name in every if len({str(metrics.get(name)) for metrics in flat}) > 1]
    names = (telling or every)[:MOST_METRICS]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("experiment", "state", *names):
        table.add_column(column, overflow="fold", justify="right" if column in names else "left")
    for trial, metrics in zip(trials, flat, strict=True):
        numbers = [_shown(metrics.get(name)) for name in names]
        table.add_row(trial.combination.experiment, trial.state, *numbers)
    Console().print(table)
    for trial in trials:
        if trial.error:
            print(f"{trial.state}: {trial.combination.name}: {trial.error}")
    if any(not trial.error for trial in trials):
        print("\n`dvc exp show` compares them; `dvc exp apply NAME` brings one into the workspace")


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    """Numbers of all metrics files by name; with the file before it where several files have the name."""
    leaves = [(path, key, value) for path, content in metrics.items() for key, value in _leaves(content)]
    keys = [key for _, key, _ in leaves]
    return {key if keys.count(key) == 1 else f"{path}:{key}": value for path, key, value in leaves}


def _leaves(content: Any, above: str = "") -> list[tuple[str, Any]]:
    if not isinstance(content, dict):
        return [(above, content)] if isinstance(content, int | float) else []
    return [leaf for key, value in content.items() for leaf in _leaves(value, f"{above}.{key}" if above else str(key))]


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
