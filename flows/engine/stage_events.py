"""Following one stage from another thread: its lines as they come, and what became of each try."""

import queue
from collections.abc import Callable
from dataclasses import dataclass

from flows.engine.types import Result, Stage
from stages.base.errors import InkflowError


@dataclass(frozen=True)
class NotRun:
    """A stage that is not run, since something happened: `cause`."""

    cause: str


@dataclass(frozen=True)
class FailedTry:
    """A try that failed, after which another one comes."""

    error: InkflowError


Ending = Result | InkflowError | NotRun | FailedTry


class Watch:
    """One stage of a run: written by the engine, followed by at most one other thread."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._events: queue.Queue[str | Ending] = queue.Queue()

    def say(self, text: str) -> None:
        """A line of the stage's output."""
        self._events.put(text)

    def fail_try(self, error: InkflowError) -> None:
        """A try failed, and another one comes."""
        self._events.put(FailedTry(error))

    def end(self, ending: Result | InkflowError | NotRun) -> None:
        """The last word on the stage."""
        self._events.put(ending)

    def follow(self, hear: Callable[[str], object]) -> Ending:
        """Hand each line to `hear` until a try ends; how it ended. Once more for the next try."""
        while isinstance(event := self._events.get(), str):
            hear(event)
        return event
