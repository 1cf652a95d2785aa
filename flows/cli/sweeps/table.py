"""The table of a grid: each trial's number, changed parameters, objective, difference to the best, and seconds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flows.cli.output import shown
from flows.engine.display.plain import Display
from flows.engine.display.styles import shortened
from flows.engine.types import Result
from flows.experiments.trials import Trial

DEVIATION = "_deviation"  # ends the name of the standard deviation of a score between seeds
MAX_OTHERS, OTHER_WIDTH = 6, 40  # metrics beside the objective, and the columns of a terminal that each one needs
MAX_VALUE = 24  # characters of a parameter's value, and of the name of a metric


class NumberedDisplay(Display):
    """Prints lines that begin with the number of their trial, as in the table; ends have its parameters too."""

    def __init__(self, names: Sequence[str], count: int = 0) -> None:
        """Creates it for the trials `names`, or for `count` trials of a search, whose names have the form `12: a=1`."""
        super().__init__([str(count or len(names))])
        self._numbers = {name: str(number) for number, name in enumerate(names, start=1)}

    def result(self, result: Result) -> None:
        """Prints the number of a trial, its result, and its parameters."""
        super().result(result)
        self._parameters(result.stage)

    def failure(self, stage: str, message: str) -> None:
        """Prints the number of a trial, its parameters, and why it failed."""
        super().failure(stage, message)
        self._parameters(stage)

    def _parameters(self, stage: str) -> None:
        number, parameters = self._divided(stage)
        if number:
            self._print(f"  {number.rjust(self._width)}   {parameters}")

    def _label(self, stage: str) -> str:
        return (self._divided(stage)[0] or super()._label(stage)).rjust(self._width)

    def _divided(self, stage: str) -> tuple[str, str]:
        """Returns the number of a trial, empty for what is none, and its parameters."""
        shown = super()._label(stage)
        if self._numbers:
            return self._numbers.get(stage, ""), shown
        number, colon, parameters = shown.partition(": ")
        return (number, parameters) if colon and number.isdecimal() else ("", shown)


def print_trials(
    trials: Sequence[Trial],
    ranked: Sequence[Trial],
    metrics: Mapping[int, Mapping[str, Any]],
    names: Sequence[str],
    criterion: str | None,
) -> None:
    """Prints a row for each trial, the best first and in bold if there is an objective.

    Args:
        trials: all trials in the order of their numbers.
        ranked: the same in the order of the table.
        metrics: the metrics of each trial by name, by its position in `ranked`.
        names: the metrics that differ.
        criterion: the objective.
    """
    from rich.table import Table

    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no table

    console = SafeConsole()
    parameters = _short_names(trials)
    others = [name for name in names if name != criterion and not name.endswith(DEVIATION)]
    others = others[: min(MAX_OTHERS, max(1, console.width // OTHER_WIDTH - 1)) if criterion else MAX_OTHERS]
    with_state = len({trial.state for trial in trials}) > 1
    table = Table(box=None, pad_edge=False)
    for heading in ("#", *parameters.values()):
        table.add_column(shown(heading), justify="right" if heading == "#" else "left", overflow="fold")
    objective = [criterion, "to best"] if criterion else []
    for heading in (*objective, *others, "seconds"):
        table.add_column(shown(shortened(heading, MAX_VALUE)), justify="right", overflow="fold")
    if with_state:
        table.add_column("state")
    best = metrics[0].get(criterion) if criterion else None
    for position, trial in enumerate(ranked):
        values = [shortened(str(trial.combination.settings.get(key, "")), MAX_VALUE) for key in parameters]
        figures = _objective(metrics[position], criterion, best) if criterion else []
        figures += [_format(metrics[position].get(name)) for name in others]
        seconds = f"{trial.seconds:.1f}" if trial.seconds else ""
        state = [trial.state] if with_state else []
        style = "bold" if best is not None and position == 0 else ""
        cells = (str(trials.index(trial) + 1), *values, *figures, seconds, *state)
        table.add_row(*map(shown, cells), style=style)
    console.print(table)


def _short_names(trials: Sequence[Trial]) -> dict[str, str]:
    """Returns the shortest end of each changed key that no other one has, by key."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.combination.settings))
    ends = {key: [".".join(key.split(".")[start:]) for start in reversed(range(len(key.split("."))))] for key in keys}
    every = [end for found in ends.values() for end in found]
    return {key: next((end for end in found if every.count(end) == 1), key) for key, found in ends.items()}


def _objective(metrics: Mapping[str, Any], criterion: str, best: Any) -> list[str]:
    """Returns the objective, with its deviation between seeds where it has one, and its difference to the best."""
    value, deviation = metrics.get(criterion), metrics.get(f"{criterion}{DEVIATION}")
    spread = f" ± {deviation:.2g}" if isinstance(deviation, float) else ""
    known = isinstance(value, int | float) and math.isfinite(value) and isinstance(best, int | float)
    return [f"{_format(value)}{spread}", f"{value - best:+.4g}" if known and value != best else ""]


def _format(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
