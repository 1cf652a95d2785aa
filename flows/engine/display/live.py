"""Displays a run on a terminal: results and messages as lines, and below them the stages that run and what is left.

Lines that report progress, such as those of epochs, move the bar of their stage alone; all lines are in a log file.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text
from rich.theme import Theme

from flows.core.progress import parse_progress
from flows.core.redaction import mask
from flows.engine.display.log_file import LogFile
from flows.engine.display.plain import MARKS, REASONS_PREFIX, Display
from flows.engine.display.styles import BAD, DIM, GOOD, INFO, WARNING, duration, name_width, shortened
from flows.engine.types import Outcome, Result
from stages.base.shown_text import one_line

STYLES = {"+": GOOD, "<": INFO, "*": INFO, "=": DIM, "x": BAD, "-": WARNING, "!": f"bold {WARNING}"}
WARNING_PREFIX = "warning: "
MAX_UNCHANGED = 12  # unchanged stages with a line each; more are counted
MANY = 40  # stages of a run from which on the reasons of a stage are printed with its result alone
COMMAND_PREFIX = "> "  # of the lines that the engine adds for commands
MAX_BARS = 10  # running stages with a bar; more are counted


class LiveDisplay(Display):
    """Prints the events of a run as lines, above a progress bar for each running stage and one for the run."""

    def __init__(
        self, names: Sequence[str], console: Console | None = None, expected_s: Mapping[str, float | None] | None = None
    ) -> None:
        """Creates the display of the stages `names`; `expected_s` is the expected duration of each, where known."""
        super().__init__(names)
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, complete_style=INFO, finished_style=GOOD, pulse_style=INFO),
            TextColumn("{task.fields[status]}", markup=False, table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            expand=True,
        )
        self._progress.console.push_theme(Theme({"progress.elapsed": DIM, "progress.remaining": DIM}))
        self._columns = self._progress.console.width
        self._width = name_width(list(map(one_line, names)), self._columns)
        self._left = {name: (expected_s or {}).get(name) for name in names}
        self._log, self._unchanged, self._total = LogFile(), 0, len(names)
        self._hidden = (COMMAND_PREFIX, REASONS_PREFIX) if len(names) > MANY else (COMMAND_PREFIX,)
        self._bars: dict[str, TaskID] = {}
        self._run = self._progress.add_task("", total=self._total, status="")
        self._show_left()
        try:
            self._progress.start()
        except BaseException:  # an interrupt: the cursor may be hidden
            self._progress.stop()
            raise

    @property
    def log_path(self) -> str:
        """The file with all lines of the run; empty if it could not be opened."""
        return str(self._log.path or "")

    def started(self, stage: str, expected_s: float | None) -> None:
        """Adds a progress bar for `stage`."""
        super().started(stage, expected_s)
        self._remove_bar(stage)  # of an earlier attempt
        status = f"about {duration(expected_s)}" if expected_s else ""
        name = mask(self._label(stage))
        self._bars[stage] = self._progress.add_task(name, total=None, status=status, visible=len(self._bars) < MAX_BARS)
        self._show_left()

    def print_lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Prints the lines except commands and those that report progress, which move a bar; logs all of them."""
        lines = list(lines)
        self._log.write(f"{stage} | {text}" for stage, text in lines)
        shown = []
        for stage, text in lines:
            progress, bar = parse_progress(text), self._bars.get(stage)
            if progress and bar is not None and not text.startswith(WARNING_PREFIX):
                done, total = progress
                self._progress.update(bar, completed=done, total=total, status=f"{done} of {total}")
            elif not text.startswith(self._hidden):
                shown.append((stage, text))
        super().print_lines(shown)

    def result(self, result: Result) -> None:
        """Removes the progress bar and prints the result; of many unchanged stages only their number."""
        self._end(result.stage)
        if result.outcome is Outcome.UNCHANGED:
            self._unchanged += 1
            if self._unchanged > MAX_UNCHANGED:
                self._log.write([f"{MARKS[result.outcome]} {result.stage}   {result.message}"])
                return
        super().result(result)

    def failure(self, stage: str, message: str) -> None:
        """Removes the progress bar and prints the failure."""
        self._end(stage)
        super().failure(stage, message)

    def not_run(self, stage: str, message: str) -> None:
        """Prints that a stage does not run."""
        self._end(stage)
        super().not_run(stage, message)

    def note(self, text: str) -> None:
        """Prints a line about the run itself, after the number of unchanged stages that have none."""
        if self._unchanged > MAX_UNCHANGED:
            more, self._unchanged = self._unchanged - MAX_UNCHANGED, 0
            super().note(f"= {more} more stages   unchanged")
        super().note(text)

    def close(self, timeout_s: float | None = None) -> None:
        """Removes all progress bars."""
        self._progress.stop()
        self._log.close()

    def _label(self, stage: str) -> str:
        return shortened(super()._label(stage), self._width)

    def _end(self, stage: str) -> None:
        self._remove_bar(stage)
        self._left.pop(stage, None)
        self._show_left()

    def _show_left(self) -> None:
        """Updates the bar of the run: `7 of 15`, how many run, and how much work is left by earlier runs."""
        done = self._total - len(self._left)
        known = sum(seconds or 0.0 for seconds in self._left.values())
        work = f", {duration(known)} of work left" if known and self._columns >= 60 else ""
        running = f", {len(self._bars)} running" if self._bars else ""
        name = f"{done} of {self._total}"
        self._progress.update(self._run, completed=done, description=name, status=f"{running}{work}".removeprefix(", "))

    def _remove_bar(self, stage: str) -> None:
        bar = self._bars.pop(stage, None)
        if bar is not None:
            self._progress.remove_task(bar)
            for other in list(self._bars.values())[:MAX_BARS]:
                self._progress.update(other, visible=True)

    def _write(self, text: str) -> None:
        self._log.write([text])
        for line in text.splitlines() or [""]:
            is_warning = WARNING_PREFIX in line and line.startswith(" ")
            style = f"bold {WARNING}" if is_warning else STYLES.get(line[:1], DIM if line.startswith("  ") else "")
            self._progress.console.print(Text(line, style=style), soft_wrap=True)
