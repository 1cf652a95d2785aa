"""Prints the events of a run as plain lines, each with the name of its stage."""

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TextIO

from flows.core.redaction import mask
from flows.engine.types import Outcome, Result
from stages.base.shown_text import indented, one_line

MARKS = {Outcome.UNCHANGED: "=", Outcome.RESTORED: "<", Outcome.RECORDED: "*", Outcome.RAN: "+"}
REASONS_PREFIX = "runs: "  # of the first line of a stage, which the engine adds; the reasons are then not repeated


class Display:
    """Prints the events of a run as plain lines."""

    def __init__(self, names: Sequence[str] = (), stream: TextIO | None = None) -> None:
        """Creates a display.

        Args:
            names: names of all stages, which set the width of the first column.
            stream: the output; standard output when None.
        """
        self._width = max((len(one_line(name)) for name in names), default=0)
        self._stream = stream or sys.stdout
        self._without_lines: set[str] = set()  # stages that have started and printed no line yet
        self._with_reasons: set[str] = set()  # stages whose first line has the reasons

    @property
    def log_path(self) -> str:
        """The file with the lines of the stages that are not printed; empty if all are."""
        return ""

    def started(self, stage: str, expected_s: float | None) -> None:
        """A stage started; `expected_s` is its expected duration in seconds, None if that is unknown."""
        self._without_lines.add(stage)

    def line(self, stage: str, text: str) -> None:
        """A stage printed a line; `error: ` lines are left out, since `failure` prints them."""
        self.print_lines([(stage, text)])

    def print_lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Stages printed lines, given as (stage, text); many at a time are faster than one by one."""
        shown = []
        for stage, text in lines:
            if stage in self._without_lines:
                self._without_lines.remove(stage)
                (self._with_reasons.add if text.startswith(REASONS_PREFIX) else self._with_reasons.discard)(stage)
            if not text.startswith("error: "):
                shown.append(f"  {self._label(stage):<{self._width}} | {one_line(text)}")
        if shown:
            self._print("\n".join(shown))

    def result(self, result: Result) -> None:
        """A stage is up to date."""
        message = (replace(result, reasons=()) if result.stage in self._with_reasons else result).message
        self._print(f"{MARKS[result.outcome]} {self._label(result.stage):<{self._width}}   {one_line(message)}")

    def failure(self, stage: str, message: str) -> None:
        """A stage failed."""
        message = message.removeprefix(f"{stage} ").removeprefix(f"{stage}: ")
        self._print(f"x {self._label(stage):<{self._width}}   {indented(message)}")

    def not_run(self, stage: str, message: str) -> None:
        """A stage does not run, because of another stage, which the message names."""
        self._print(f"- {self._label(stage):<{self._width}}   {message}")

    def note(self, text: str) -> None:
        """Prints a line about the run itself."""
        self._print(text)

    def notice(self, text: str) -> None:
        """Prints an important message about the run, in a frame."""
        rule = "!" * min(78, max(map(len, text.splitlines())))
        self._print(f"{rule}\n{text}\n{rule}")

    def wait_for_room(self, timeout_s: float) -> bool:
        """Waits up to `timeout_s` until more lines can be displayed without delay; returns True then."""
        return True

    def close(self, timeout_s: float | None = None) -> None:
        """Ends the display; no events follow. Waits up to `timeout_s`, if given, until all events are displayed."""

    def _label(self, stage: str) -> str:
        """Returns the name of a stage as its lines begin; a name with a line end in it begins no line of its own."""
        return one_line(stage)

    def _print(self, text: str) -> None:
        """Prints `text` without secrets; the run goes on silently if the reader has gone away, as with `| head`."""
        try:
            self._write(mask(text))
        except OSError:
            with suppress(OSError):  # discards all further output of this process, of libraries too
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class SilentDisplay(Display):
    """Prints nothing, for runs without a terminal: on a worker, whose logs Prefect keeps."""

    def _print(self, text: str) -> None:
        pass
