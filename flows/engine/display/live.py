"""Displays a run on a terminal: lines as everywhere, and below them a progress bar for each running stage."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from flows.engine.display.plain import Display
from flows.engine.display.progress_parser import parse_progress
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


class LiveDisplay(Display):
    """Prints the events of a run as lines, above a progress bar for each running stage."""

    def __init__(self, names: Sequence[str], console: Console | None = None) -> None:
        super().__init__(names)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._progress.start()

    def started(self, stage: str, expected_s: float | None) -> None:
        """Adds a progress bar for `stage`."""
        super().started(stage, expected_s)
        self._remove_bar(stage)  # of an earlier attempt
        status = f"about {expected_s:.0f} s" if expected_s else ""
        self._bars[stage] = self._progress.add_task(stage, total=None, status=status)

    def print_lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Prints the lines, and updates the progress bars of stages whose lines report progress."""
        lines = list(lines)
        super().print_lines(lines)
        for stage, text in lines:
            progress, bar = parse_progress(text), self._bars.get(stage)
            if progress and bar is not None:
                done, total = progress
                self._progress.update(bar, completed=done, total=total, status=f"{done} of {total}")

    def result(self, result: Result) -> None:
        """Removes the progress bar and prints the result."""
        self._remove_bar(result.stage)
        super().result(result)

    def failure(self, stage: str, message: str) -> None:
        """Removes the progress bar and prints the failure."""
        self._remove_bar(stage)
        super().failure(stage, message)

    def close(self, timeout_s: float | None = None) -> None:
        """Removes all progress bars."""
        self._progress.stop()

    def _remove_bar(self, stage: str) -> None:
        bar = self._bars.pop(stage, None)
        if bar is not None:
            self._progress.remove_task(bar)

    def _write(self, text: str) -> None:
        self._progress.console.print(Text(text, style=STYLES.get(text[:1], "")), soft_wrap=True)
