"""`inkflow sweep`: runs combinations of parameters in parallel and records each as a DVC experiment."""

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.interactive_run import INTERRUPTED_DISPLAY_S, load_prefect, note_lost_server
from flows.cli.output import print_json
from flows.cli.sweeps.search import TRIALS, check_options, make_search, print_search
from flows.cli.sweeps.table import NumberedDisplay, print_trials
from flows.core.params_edit import has_schema
from flows.core.redaction import say
from flows.core.signals import ignore_termination
from flows.core.values import counted
from flows.dvc_repo.repository import Repository
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.policy import load_policies
from flows.experiments.grid import check_combinations, parameter_keys, parse_combinations
from flows.experiments.search.comparability import changing_loss, changing_samples
from flows.experiments.search.objective import natural_direction
from flows.experiments.sweep_runner import SweepRunner
from flows.experiments.trials import GridTrials, Trial
from flows.prefect_server.server import Server
from stages.base.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

if TYPE_CHECKING:  # imports Optuna, which is an extra and takes a second
    from flows.experiments.search.search_trials import SearchTrials


def sweep(arguments: argparse.Namespace) -> int:
    """Runs all combinations, or those that a search proposes, and returns the exit code.

    Raises:
        InvalidInput: a combination, a parameter or a stage is invalid; no stage ran.
    """
    root = Path()
    check_options(arguments)
    runner, search = _make_search(arguments, root) if arguments.search else (_make_grid(arguments, root), None)
    display, is_interrupted = runner.display, True
    try:
        with Server(root) as server:
            runner.server = None if server.is_temporary else server.url
            planned = search.plan() if search else counted(len(runner.trials), "combination")
            display.note(f"{server.announcement}\n{planned}; the workspace does not change")
            _run_flow(runner, server, arguments)
        display.note(runner.summary)
        is_interrupted = runner.is_interrupted
    finally:
        display.close(INTERRUPTED_DISPLAY_S if is_interrupted else None)
        if search:
            search.study.close()
    if search is None:
        print_grid(runner.trials, root, as_json=arguments.json)
    elif search.failure is None or search.study.best() is not None:
        print_search(search, arguments)
    if search and search.failure:
        raise search.failure
    if is_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(trial.is_failure for trial in runner.trials) else EXIT_DONE


def _make_grid(arguments: argparse.Namespace, root: Path) -> SweepRunner:
    """Returns the runner of a grid."""
    combinations = parse_combinations(arguments.grid, arguments.list, arguments.file)
    check_combinations(combinations, root)
    load_policies(root)
    with Repository(root) as repository:
        arguments.stages = repository.resolve(arguments.stages, arguments.folder)
    display = _display(NumberedDisplay([item.name for item in combinations]), arguments)
    source = GridTrials(combinations, parameter_keys(root))
    return SweepRunner(root, source, arguments.stages, arguments.jobs, display, local=arguments.local)


def _make_search(arguments: argparse.Namespace, root: Path) -> tuple[SweepRunner, "SearchTrials"]:
    """Returns the runner and the trials of a search."""
    policies = load_policies(root)
    with Repository(root) as repository:
        arguments.stages = repository.resolve(arguments.stages, arguments.folder)
        search, clones = make_search(arguments, repository, policies)
    display = _display(NumberedDisplay([], arguments.trials or TRIALS), arguments)
    options = {"local": arguments.local, "clones": clones}
    return SweepRunner(root, search, arguments.stages, arguments.jobs, display, **options), search


def _display(display: Display, arguments: argparse.Namespace) -> Display:
    return SilentDisplay() if arguments.json else BufferedDisplay(display)


def print_grid(trials: Sequence[Trial], root: Path, *, as_json: bool) -> None:
    """Prints the trials, the best one first if their scores can be compared.

    Args:
        trials: all trials.
        root: the project.
        as_json: as JSON, and not as a table.
    """
    differing = differing_samples(trials) if has_schema(root) else []
    flat = [_flat(trial.metrics) for trial in trials]
    ranked, criterion = (list(trials), None) if differing else rank(flat, trials)
    if as_json:
        print_json({"ranked_by": criterion, "trials": [_row(trial) for trial in ranked]})
        return
    _print_table(trials, ranked, criterion)
    if differing:
        say(
            "\nin the order of the combinations: scores of different validation samples or targets cannot be compared, "
            f"and trials differ in {', '.join(differing)}"
        )


def _run_flow(runner: SweepRunner, server: Server, arguments: argparse.Namespace) -> None:
    """Runs the trials as tasks of a Prefect flow."""
    shown_arguments = {"targets": arguments.stages, "jobs": arguments.jobs}
    if arguments.search:
        names = ("search", "space", "objective", "trials", "prune", "study")
        shown_arguments |= {name: getattr(arguments, name) for name in names}
    else:
        shown_arguments["combinations"] = [dict(trial.combination.settings) for trial in runner.trials]
    try:
        try:
            load_prefect(server)
            from flows.sweep import sweep_as_flow  # late: needs Prefect

            sweep_as_flow(runner, shown_arguments)
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


def rank(flat: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> tuple[list[Trial], str | None]:
    """Returns the trials, the lowest validation loss first, and the name of that metric.

    If the trials have different loss functions, whose values cannot be compared, the highest validation accuracy is
    first. Trials without the metric, or with one that is not finite as after a training that diverged, are last. If no
    trial has it, or several metrics differ, such as those of several models, the order stays as it is, without a name.
    Other metrics, as those of test images, never decide.

    Args:
        flat: the metrics of each trial, by name.
        trials: the trials.
    """
    keys = {key for trial in trials for key in trial.combination.settings}
    kind, sign = ("accuracy", -1) if changing_loss(keys) else ("loss", 1)
    found = [name for name in columns(flat) if _is_validation(name) and name.endswith(kind)]
    if not found and kind == "accuracy":  # of a regression
        found, sign = [name for name in columns(flat) if _is_validation(name) and name.endswith(("mae", "error"))], 1
    if len(found) != 1:
        return list(trials), None
    sign = -1 if natural_direction(found[0]) == "maximize" else sign  # as of val_neg_log_loss
    values = [sign * metrics.get(found[0], math.nan) for metrics in flat]
    if not any(map(math.isfinite, values)):
        return list(trials), None
    order = sorted((value if math.isfinite(value) else math.inf, number) for number, value in enumerate(values))
    return [trials[number] for _, number in order], found[0]


def differing_samples(trials: Sequence[Trial]) -> list[str]:
    """Returns the parameters whose values differ between trials and change what validation scores are of."""
    settings = [trial.combination.settings for trial in trials]
    keys = changing_samples(dict.fromkeys(key for each in settings for key in each))
    return [key for key in keys if len({repr(each[key]) if key in each else "" for each in settings}) > 1]


def columns(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the metrics that help to compare trials, those of the validation part first.

    A metric with the same value in all trials is left out, unless all are so, and a second one with the same values.
    Trials without metrics, as those that failed, do not count.
    """
    every = list(dict.fromkeys(name for metrics in flat for name in metrics))
    values = {name: tuple(str(metrics.get(name)) for metrics in flat if metrics) for name in every}
    differing = [name for name in every if len(set(values[name])) > 1] or every
    ordered = sorted(differing, key=lambda name: not _is_validation(name))
    return [name for name in ordered if next(each for each in ordered if values[each] == values[name]) == name]


def _is_validation(name: str) -> bool:
    return not {"validation", "val"}.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def _print_table(trials: Sequence[Trial], ranked: Sequence[Trial], criterion: str | None) -> None:
    flat = [_flat(trial.metrics) for trial in ranked]
    print_trials(trials, ranked, dict(enumerate(flat)), columns(flat), criterion)
    for trial in ranked:
        if trial.error:
            say(f"{trial.state}: {trial.combination.name}: {trial.error}")
    if criterion:
        say(f"\nin the order of {criterion}, which chooses; scores on test images only estimate the chosen trial's")
    applicable = [trial.experiment for trial in ranked if not trial.error]
    if applicable:
        what = "the best one" if criterion else "it"
        say(f"\n`dvc exp apply {applicable[0]}` copies {what} into the workspace; `dvc exp show` has all")


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
