"""What a person at a terminal sees of a run: one line an event, with the stage's name before it."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from io import TextIOWrapper
from typing import TextIO

from flows.core.redaction import mask
from flows.engine.types import Outcome, Result

MARKS = {Outcome.UNCHANGED: "=", Outcome.RESTORED: "<", Outcome.RECORDED: "*", Outcome.RAN: "+"}
WHY = "runs: "  # how the engine begins a stage's first line, with the reasons: they are not said again at its end


class Display:
    """Prints events as plain lines."""

    def __init__(self, names: Sequence[str] = (), stream: TextIO | None = None) -> None:
        self._width = max((len(name) for name in names), default=0)
        self._stream = stream or sys.stdout
        if isinstance(self._stream, TextIOWrapper):
            self._stream.reconfigure(errors="replace")  # a terminal that cannot show an arrow is no reason to fail
        self._began: set[str] = set()  # stages of which no line has come yet
        self._reasoned: set[str] = set()  # stages whose first line said why they run

    def started(self, stage: str, expected_s: float | None) -> None:
        """A stage began to run; how long it took before, where that is known."""
        self._began.add(stage)

    def line(self, stage: str, text: str) -> None:
        """A line that a stage printed; its error sentence comes with its failure."""
        if stage in self._began:
            self._began.remove(stage)
            (self._reasoned.add if text.startswith(WHY) else self._reasoned.discard)(stage)
        if not text.startswith("error: "):
            self._print(f"  {stage:<{self._width}} | {text}")

    def result(self, result: Result) -> None:
        """What became of a stage."""
        said = replace(result, reasons=()).sentence if result.stage in self._reasoned else result.sentence
        self._print(f"{MARKS[result.outcome]} {result.stage:<{self._width}}   {said}")

    def failure(self, stage: str, message: str) -> None:
        """A stage that failed."""
        said = message.removeprefix(f"{stage} ").removeprefix(f"{stage}: ")
        self._print(f"x {stage:<{self._width}}   {said}")

    def not_run(self, stage: str, cause: str) -> None:
        """A stage that stands behind a failure."""
        self._print(f"- {stage:<{self._width}}   not run, since {cause}")

    def note(self, text: str) -> None:
        """Something about the run itself."""
        self._print(text)

    def notice(self, text: str) -> None:
        """Something that nobody may miss, in a frame."""
        rule = "!" * min(78, max(map(len, text.splitlines())))
        self._print(f"{rule}\n{text}\n{rule}")

    def close(self) -> None:
        """Nothing more will come."""

    def _print(self, text: str) -> None:
        """Print `text`. When the reader went away, as `| head` does, the run goes on, and nobody hears of it."""
        try:
            self._write(mask(text))
        except OSError:
            with suppress(OSError):  # what is written from now on, by whomever, goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class SilentDisplay(Display):
    """A display for runs that nobody watches: a worker's, whose logs Prefect keeps."""

    def _print(self, text: str) -> None:
        pass
