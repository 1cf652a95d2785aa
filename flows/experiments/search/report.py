"""The report of a search: a table of all trials, a summary, and Optuna's pictures of the study."""

import csv
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from flows.core.redaction import mask, masked_code, masked_markdown
from flows.core.values import counted
from flows.experiments.search.objective import Objective
from flows.experiments.search.space import Dimension
from flows.experiments.search.study import EXPERIMENT, MESSAGE, PLACE, Study
from stages.base.errors import OutputError
from stages.base.files import replacing, write_text
from stages.base.shown_text import csv_text

MIN_TRIALS = 10  # for the importance of parameters
SHOWN = 10  # trials in the summary
ROW_COLUMNS = ("trial", "state", "value", "experiment", "place", "steps", "seconds", "message")
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def write_report(study: Study, objective: Objective, folder: Path, errors: Mapping[int, str]) -> Path:
    """Writes summary.md, trials.csv and, with Matplotlib, the pictures of `study`, and returns their folder.

    Args:
        study: the study.
        objective: the score.
        folder: folder of all reports.
        errors: errors of failed trials, by number; the study may not know them.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = folder / study.folder.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, error) from error
    if not (folder.parent / ".gitignore").exists():
        write_text(folder.parent / ".gitignore", "*\n")
    importance = _importance(study)
    trials = [trial for trial in study.trials() if len(trial.params) == len(study.definition.space)]
    _write_table([row(study, trial, errors) for trial in trials], folder / "trials.csv")
    write_text(folder / "summary.md", _summary(study, objective, errors, importance))
    _draw(study, objective, folder, with_importance=bool(importance))
    return folder


def ranked(study: Study) -> list[FrozenTrial]:
    """Returns the complete trials, the best first."""
    sign = 1 if study.definition.direction == "minimize" else -1
    return sorted(study.trials(TrialState.COMPLETE), key=lambda trial: (sign * trial.value, trial.number))


def row(study: Study, trial: FrozenTrial, errors: Mapping[int, str]) -> dict[str, Any]:
    """Returns a trial as one row of a table; `errors` are those of failed trials, which the study may not know."""
    seconds = (trial.datetime_complete - trial.datetime_start).total_seconds() if trial.datetime_complete else None
    columns = parameter_columns(study.definition.space)
    settings = study.settings(trial) if len(trial.params) == len(columns) else {}  # not all are chosen yet
    return {
        "trial": trial.number,
        "state": _state(trial, errors),
        "value": trial.value,
        **{columns[key]: value for key, value in settings.items()},
        "experiment": trial.user_attrs.get(EXPERIMENT),
        "place": trial.user_attrs.get(PLACE),
        "steps": len(trial.intermediate_values),
        "seconds": seconds,
        "message": trial.user_attrs.get(MESSAGE) or errors.get(trial.number, ""),
    }


def parameter_columns(space: Sequence[Dimension]) -> dict[str, str]:
    """Returns the column of each searched parameter, by key: the key, after `params.` if the row has a column of it."""
    columns: dict[str, str] = {}
    keys = [dimension.key for dimension in space]
    for key in keys:
        column = key
        while column in ROW_COLUMNS or (column != key and column in keys):
            column = f"params.{column}"
        columns[key] = column
    return columns


def _state(trial: FrozenTrial, errors: Mapping[int, str]) -> str:
    return STATES.get(trial.state) or ("failed" if trial.number in errors else "running")


def _importance(study: Study) -> dict[str, float]:
    """Returns the share of each parameter in the differences between good and other trials; empty for few trials."""
    complete = study.trials(TrialState.COMPLETE)
    if len(study.definition.space) < 2 or len({trial.value for trial in complete}) < MIN_TRIALS:
        return {}
    try:
        shares = get_param_importances(study.optuna_study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):  # as where no parameter differs
        return {}
    return {str(key): float(share) for key, share in shares.items()}


def _write_table(trials: Sequence[Mapping[str, Any]], path: Path) -> None:
    rows = [{_cell(name): _cell(value) for name, value in trial.items()} for trial in trials]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _cell(value: Any) -> Any:
    return csv_text(mask(value)) if isinstance(value, str) else value


def _summary(study: Study, objective: Objective, errors: Mapping[int, str], importance: Mapping[str, float]) -> str:
    """Returns the summary as Markdown."""
    best = ranked(study)
    states = [_state(trial, errors) for trial in study.trials()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    columns = parameter_columns(study.definition.space).values()
    lines = [
        f"# Search: {study.definition.direction} {masked_markdown(objective.name)}", "",
        f"{counted(len(states), 'trial')}: {counts}.", "",
        f"The best one: {masked_code(f'dvc exp apply {best[0].user_attrs[EXPERIMENT]}')}", "",
        "| trial | value | " + " | ".join(masked_code(name, in_table=True) for name in columns) + " |",
        "|---:|---:|" + "---|" * len(columns),
    ]  # fmt: skip
    for trial in best[:SHOWN]:
        values = " | ".join(masked_markdown(str(value)) for value in study.settings(trial).values())
        lines.append(f"| {trial.number} | {trial.value:.6g} | {values} |")
    if importance:
        shares = ", ".join(f"{masked_code(key)} {share:.0%}" for key, share in importance.items())
        lines += ["", f"Importance (PED-ANOVA, the best trials against all): {shares}."]
    return "\n".join(lines) + "\n"


def _draw(study: Study, objective: Objective, folder: Path, *, with_importance: bool) -> None:
    """Draws the best value so far, parallel coordinates and importance; nothing without Matplotlib."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        from optuna.visualization import matplotlib as pictures  # late: takes a second, and needs Matplotlib
    except ImportError:
        return
    score = {"target_name": objective.key}
    plots: dict[str, Callable[[], Any]] = {
        "1-history": lambda: pictures.plot_optimization_history(study.optuna_study, **score),
        "2-parallel": lambda: pictures.plot_parallel_coordinate(study.optuna_study, **score),
    }
    if with_importance:
        evaluator = PedAnovaImportanceEvaluator()
        plots["3-importance"] = lambda: pictures.plot_param_importances(
            study.optuna_study, evaluator=evaluator, **score
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls these functions experimental
        if not pictures.is_available():
            return
        for name, plot in plots.items():
            axes = plot()
            figure = axes.figure
            figure.set_size_inches(10, 5)
            with replacing(folder / f"{name}.png") as path:
                figure.savefig(path, format="png", dpi=100, bbox_inches="tight")
            figure.clear()
