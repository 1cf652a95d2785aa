"""The display on a terminal: below the lines, the stages that run now, with their progress and what is left."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from flows.engine.display.plain import Display
from flows.engine.display.progress_parser import steps
from flows.engine.types import Result

STYLES = {
    "+": "green",
    "<": "cyan",
    "*": "cyan",
    "=": "dim",
    "x": "bold red",
    "-": "yellow",
    "!": "bold yellow",
    " ": "dim",
}


def is_terminal() -> bool:
    """True when a person looks at standard output."""
    return sys.stdout.isatty()


class LiveDisplay(Display):
    """Lines as on any display, and below them a row for each stage that runs."""

    def __init__(self, names: Sequence[str], console: Console | None = None) -> None:
        super().__init__(names)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._rows: dict[str, TaskID] = {}
        self._progress.start()

    def started(self, stage: str, expected_s: float | None) -> None:
        """Show a row for `stage`."""
        super().started(stage, expected_s)
        self._remove(stage)  # of an earlier try
        told = f"about {expected_s:.0f} s" if expected_s else ""
        self._rows[stage] = self._progress.add_task(stage, total=None, told=told)

    def line(self, stage: str, text: str) -> None:
        """Print the line, and move the stage's bar when it tells how far the stage is."""
        super().line(stage, text)
        told, row = steps(text), self._rows.get(stage)
        if told and row is not None:
            self._progress.update(row, completed=told[0], total=told[1], told=f"{told[0]} of {told[1]}")

    def result(self, result: Result) -> None:
        """Take the stage's row away and print what became of it."""
        self._remove(result.stage)
        super().result(result)

    def failure(self, stage: str, message: str) -> None:
        """Take the stage's row away and print its failure."""
        self._remove(stage)
        super().failure(stage, message)

    def close(self) -> None:
        """Take the rows away."""
        self._progress.stop()

    def _remove(self, stage: str) -> None:
        row = self._rows.pop(stage, None)
        if row is not None:
            self._progress.remove_task(row)

    def _write(self, text: str) -> None:
        self._progress.console.print(Text(text, style=STYLES.get(text[:1], "")), soft_wrap=True)
