"""The events of one stage, from the engine to another thread: output lines, failed attempts, the end."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flows.core.values import counted
from flows.engine.types import Result, Stage
from stages.base.errors import InkflowError

MAX_WAITING = 100_000  # lines that wait for a follower, as while Prefect loads; older ones are left out
MAX_SINGLE = 1000  # lines of an attempt that are passed on one by one; then blocks, which a server stores faster
BLOCK_LENGTH = 20_000  # characters
BLOCK_S = 1.0  # in which lines are gathered for blocks


@dataclass(frozen=True)
class NotRun:
    """The stage does not run, because of `cause`: it depends on a failed stage, or the run was stopped."""

    cause: str
    is_stopped: bool = False

    @property
    def message(self) -> str:
        """The end of the stage as text."""
        return f"{'stopped' if self.is_stopped else 'not run'}, since {self.cause}"


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt failed, and another one follows."""

    error: InkflowError


EndEvent = Result | InkflowError | NotRun | FailedAttempt  # an error ends the last attempt


class StageEvents:
    """The events of one stage, with at most one thread that follows them; `ending` if it has already ended."""

    def __init__(self, stage: Stage, ending: EndEvent | None = None) -> None:
        self.stage = stage
        self._waiting: deque[str | EndEvent] = deque([ending] if ending else [])
        self._has_ended = ending is not None
        self._left_out = 0
        self._changed = threading.Condition()

    def put(self, event: str | EndEvent) -> None:
        """Adds a line of the stage's output, or the event that ends an attempt."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING and isinstance(self._waiting[0], str):
                self._waiting.popleft()
                self._left_out += 1
            self._waiting.append(event)
            self._has_ended = self._has_ended or not isinstance(event, str | FailedAttempt)
            self._changed.notify_all()

    def abort(self, failure: InkflowError) -> None:
        """Ends the stage with `failure`, if it has not ended."""
        if not self._has_ended:
            self.put(failure)

    def follow(self, on_text: Callable[[str], object]) -> EndEvent:
        """Calls `on_text` with each line until an attempt ends, and returns its end; call it again for the next one.

        Of many lines, the later ones are joined by line feeds. If some were left out, a line says how many.
        """
        count = 0
        while True:
            left_out, lines, ending = self._take(gather=count > MAX_SINGLE)
            if left_out:
                gap = counted(left_out, "line of output is", "lines of output are")
                on_text(f"{gap} left out here: there were more than {MAX_WAITING} at a time")
            count += len(lines)
            for text in lines if count <= MAX_SINGLE else _blocks(lines):
                on_text(text)
            if ending is not None:
                return ending

    def _take(self, *, gather: bool) -> tuple[int, list[str], EndEvent | None]:
        """Waits for events; returns the number of lines left out, the next lines, and the end of the attempt if any."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            if gather:
                self._changed.wait_for(lambda: not isinstance(self._waiting[-1], str), BLOCK_S)
            left_out, self._left_out = self._left_out, 0
            lines: list[str] = []
            while self._waiting:
                event = self._waiting.popleft()
                if not isinstance(event, str):
                    return left_out, lines, event
                lines.append(event)
            return left_out, lines, None


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """Yields the lines joined to blocks."""
    block: list[str] = []
    length = 0
    for line in lines:
        if block and length + len(line) > BLOCK_LENGTH:
            yield "\n".join(block)
            block, length = [], 0
        block.append(line)
        length += len(line) + 1
    if block:
        yield "\n".join(block)
