"""Events of one stage, from the engine to a thread that follows it: output lines, failed tries, the end."""

import queue
from collections.abc import Callable
from dataclasses import dataclass

from flows.engine.types import Result, Stage
from stages.base.errors import InkflowError


@dataclass(frozen=True)
class NotRun:
    """A stage that is not run, because of `cause`."""

    cause: str


@dataclass(frozen=True)
class FailedTry:
    """A try that failed and is followed by another one."""

    error: InkflowError


Ending = Result | InkflowError | NotRun | FailedTry


class StageEvents:
    """The events of one stage: the engine writes them, at most one other thread follows them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._events: queue.Queue[str | Ending] = queue.Queue()

    def line(self, text: str) -> None:
        """Add a line of the stage's output."""
        self._events.put(text)

    def fail_try(self, error: InkflowError) -> None:
        """Add a failed try; another one follows."""
        self._events.put(FailedTry(error))

    def end(self, ending: Result | InkflowError | NotRun) -> None:
        """Add the last event."""
        self._events.put(ending)

    def follow(self, on_line: Callable[[str], object]) -> Ending:
        """Pass each line to `on_line` until a try ends, and give its ending; to be called again for the next try."""
        while isinstance(event := self._events.get(), str):
            on_line(event)
        return event
