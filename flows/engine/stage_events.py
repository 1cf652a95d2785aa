"""The events of one stage, from the engine to another thread: output lines, failed attempts, the end."""

import queue
from collections.abc import Callable
from dataclasses import dataclass

from flows.engine.types import Result, Stage
from stages.base.errors import InkflowError


@dataclass(frozen=True)
class NotRun:
    """The stage does not run, because of `cause`."""

    cause: str


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt failed, and another one follows."""

    error: InkflowError


EndEvent = Result | InkflowError | NotRun | FailedAttempt  # an error ends the last attempt


class StageEvents:
    """The events of one stage, with at most one thread that follows them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._queue: queue.Queue[str | EndEvent] = queue.Queue()

    def put(self, event: str | EndEvent) -> None:
        """Adds a line of the stage's output, or the event that ends an attempt."""
        self._queue.put(event)

    def follow(self, on_line: Callable[[str], object]) -> EndEvent:
        """Calls `on_line` with each line until an attempt ends, and returns its end; call it again for the next one."""
        while isinstance(event := self._queue.get(), str):
            on_line(event)
        return event
