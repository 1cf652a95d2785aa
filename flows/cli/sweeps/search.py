"""The search of `inkflow sweep --search`: checks its arguments, opens the study, prints the best trials."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.output import print_json
from flows.core.extras import MissingPackage
from flows.core.project import make_state_folder
from flows.core.redaction import say
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.engine import resources
from flows.engine.policy import Policies
from flows.experiments.grid import parameter_keys
from flows.experiments.search.objective import Objective, direction_of, find_objective
from flows.experiments.search.space import Dimension, Range, base_digest, check_space, parse_space
from stages.base.errors import InvalidInput

if TYPE_CHECKING:  # imports Optuna, which is an extra and takes a second
    from flows.experiments.search.search_trials import SearchTrials

STUDIES, REPORTS = Path(".inkflow/search"), Path("reports/search")
OTHER_REPORTS = Path(".inkflow/search-reports")  # where `reports` is an output of a stage
ONLY_SEARCH = ("space", "objective", "direction", "trials", "prune", "timeout", "seed", "study", "storage", "history")
ONLY_GRID = {"grid": "--grid", "list": "--list", "file": "--from"}
TRIALS = 50
SHOWN = 10  # trials in the table


def check_options(arguments: argparse.Namespace) -> None:
    """Checks that the options of grids and of searches are not mixed.

    Raises:
        InvalidInput: they are.
    """
    given = [f"--{name}" for name in ONLY_SEARCH if getattr(arguments, name) not in (None, [])]
    if given and not arguments.search:
        raise InvalidInput(f"{given[0]} is for a search; add --search tpe, random or cmaes")
    others = [option for name, option in ONLY_GRID.items() if getattr(arguments, name)]
    if others and arguments.search:
        raise InvalidInput(f"{others[0]} lists combinations, and --search proposes them; leave one of them out")


def make_search(
    arguments: argparse.Namespace, repository: Repository, policies: Policies
) -> tuple["SearchTrials", ProjectClones]:
    """Returns the trials of a search and the clones for them; `arguments.stages` gets the stages of a trial.

    Raises:
        InvalidInput: a range, a key, the objective or the study is invalid; no stage ran.
    """
    space = parse_space(arguments.space)
    if arguments.search == "cmaes" and sum(isinstance(dimension, Range) for dimension in space) < 2:
        raise InvalidInput("--search cmaes needs two ranges of numbers or more; use tpe for one, and for choices alone")
    check_space(space, repository.root)
    if arguments.objective is None:
        raise InvalidInput("a search needs an --objective: a validation score, such as val_loss, or FILE:KEY")
    keys = [dimension.key for dimension in space]
    objective = find_objective(arguments.objective, arguments.history, keys, arguments.stages, repository)
    direction = direction_of(objective.name, arguments.direction)
    if arguments.prune:
        _check_pruning(objective, policies, is_local=arguments.local)
    arguments.stages = arguments.stages or [objective.stage]
    clones = ProjectClones(repository.root)
    return _open_search(arguments, repository, clones, space, objective, direction), clones


def print_search(search: "SearchTrials", arguments: argparse.Namespace) -> None:
    """Prints the best trials, the failed ones, and how to apply the best one; with --json all trials."""
    from flows.experiments.search.report import parameter_columns, ranked, row  # late: Optuna

    study, folder = search.study, search.report()
    best, errors = ranked(study), search.errors()
    if arguments.json:
        rows = [row(study, trial, errors) for trial in study.trials()]
        print_json(
            {
                "study": study.folder.name, "objective": search.objective.name, "direction": study.definition.direction,
                "best": row(study, best[0], errors) if best else None, "report": folder and str(folder), "trials": rows,
            }
        )  # fmt: skip
        return
    columns = list(parameter_columns(study.definition.space).values())
    _print_table([row(study, trial, errors) for trial in best[:SHOWN]], columns)
    for trial in search.trials:
        if trial.is_failure:
            say(f"{trial.state}: {trial.name}: {trial.error}")
    if folder is not None:
        say(f"\nall trials and pictures: {folder}")
    say(search.best_line())


def _check_pruning(objective: Objective, policies: Policies, *, is_local: bool) -> None:
    if objective.history is None:
        raise InvalidInput("--prune reads a table that grows while a stage runs; name it with --history FILE:COLUMN")
    pool = policies.of(objective.stage).pool
    if pool is not None and not is_local:
        raise InvalidInput(
            f"--prune reads the live history, which {objective.stage} writes on a worker of the pool {pool}; "
            "leave --prune out, or add --local"
        )


def _open_search(
    arguments: argparse.Namespace,
    repository: Repository,
    clones: ProjectClones,
    space: list[Dimension],
    objective: Objective,
    direction: str,
) -> "SearchTrials":
    try:
        import optuna  # noqa: F401

        from flows.experiments.search.search_trials import SearchTrials
        from flows.experiments.search.study import Definition, Study
    except ModuleNotFoundError as error:
        raise MissingPackage(error.name or "optuna", "search") from error
    root = repository.root
    outputs = [output for stage in repository.stages(with_absent=True) for output in stage.outputs]
    base = base_digest(clones.entries(), outputs, space, root)
    definition = Definition(space, objective.name, direction, arguments.stages, base)
    make_state_folder(root)
    folder = (arguments.storage or root / STUDIES) / (arguments.study or definition.name)
    study = Study(folder, definition, arguments.search, arguments.prune, arguments.seed or 0)
    timeout = arguments.timeout
    return SearchTrials(
        study,
        objective,
        parameter_keys(root),
        root,
        count=arguments.trials or TRIALS,
        parallel=arguments.jobs or resources.cores(),
        timeout_s=None if timeout is None else timeout.total_seconds(),
        prune=bool(arguments.prune),
        reports=root / (OTHER_REPORTS if any(REPORTS.is_relative_to(each) for each in outputs) else REPORTS),
    )


def _print_table(rows: list[dict[str, Any]], parameters: list[str]) -> None:
    from rich.table import Table

    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no table

    table = Table(box=None, pad_edge=False)
    for name in ("trial", "value", "to best", *parameters, "seconds"):
        table.add_column(name, overflow="fold", justify="right")
    for position, each in enumerate(rows):
        to_best = f"{each['value'] - rows[0]['value']:+.4g}" if position else ""
        values = (str(each[name]) for name in parameters)
        style = "" if position else "bold"
        seconds = "" if each["seconds"] is None else f"{each['seconds']:.1f}"
        table.add_row(str(each["trial"]), f"{each['value']:.6g}", to_best, *values, seconds, style=style)
    SafeConsole().print(table)
