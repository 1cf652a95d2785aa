"""Displays the events of a run in a thread of its own, so that a slow or stopped reader delays no stage's end."""

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from flows.core.redaction import say_if_possible
from flows.core.values import counted
from flows.engine.display.plain import Display
from flows.engine.types import Result

MAX_BATCH = 100  # lines that are displayed at a time
MAX_WAITING = 200  # events; further ones wait, if their stage can wait


class BufferedDisplay(Display):
    """Passes all events to another display, in their order, in a thread.

    Its methods return at once. A stage that prints faster than the reader reads waits in `wait_for_room`, so that
    nothing is left out. Only an interrupt leaves lines out, and says how many.
    """

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display
        self._waiting: deque[tuple[str, str] | Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._display_all, name="display", daemon=True)
        self._thread.start()

    def started(self, stage: str, expected_s: float | None) -> None:
        """Passes the start of a stage on."""
        self._put(partial(self._display.started, stage, expected_s))

    def line(self, stage: str, text: str) -> None:
        """Passes a line on."""
        self._put((stage, text))

    def result(self, result: Result) -> None:
        """Passes the result of a stage on."""
        self._put(partial(self._display.result, result))

    def failure(self, stage: str, message: str) -> None:
        """Passes the failure of a stage on."""
        self._put(partial(self._display.failure, stage, message))

    def not_run(self, stage: str, message: str) -> None:
        """Passes on that a stage does not run."""
        self._put(partial(self._display.not_run, stage, message))

    def note(self, text: str) -> None:
        """Passes a note on."""
        self._put(partial(self._display.note, text))

    def notice(self, text: str) -> None:
        """Passes a notice on."""
        self._put(partial(self._display.notice, text))

    def wait_for_room(self, timeout_s: float) -> bool:
        """Waits up to `timeout_s` until fewer than MAX_WAITING events wait; returns True then."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING, timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Waits until all events are displayed, and closes the display.

        After `timeout_s`, or an interrupt, says how many events are left out because the reader has stopped reading.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        try:
            self._thread.join(timeout_s)
        finally:
            if self._thread.is_alive():
                self._leave_out()
            else:
                self._display.close()

    def _leave_out(self) -> None:
        """Abandons the thread, which holds a lock of standard output while it writes to a reader that does not read."""
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the exit, which flushes it
        with suppress(OSError, ValueError):
            if not select.select([], [sys.stderr], [], 0)[1]:  # the same reader
                sys.stderr = sys.stdout
        count = len(self._waiting)
        left_out = counted(count, "line of output was", "lines of output were")
        say_if_possible(f"{left_out} left out, since their reader does not read", error=True)

    def _put(self, event: tuple[str, str] | Callable[[], None]) -> None:
        with self._changed:
            self._waiting.append(event)
            self._changed.notify_all()

    def _display_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                event = self._waiting[0]
                lines: list[tuple[str, str]] = []
                for item in islice(self._waiting, MAX_BATCH):
                    if not isinstance(item, tuple):
                        break
                    lines.append(item)
            with suppress(Exception):  # the run goes on without its display
                event() if callable(event) else self._display.print_lines(lines)
            with self._changed:
                for _ in range(len(lines) or 1):
                    self._waiting.popleft()
                self._changed.notify_all()
