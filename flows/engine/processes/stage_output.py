"""The output of one command: one pipe for all its lines, read to the end however slow the reader of the run is."""

import codecs
import io
import locale
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self
from uuid import uuid4

from flows.core.redaction import masked_lines

TAIL_LINES = 50  # of a stage's output, for the message when it fails
POLL_S = 0.1
CHUNK_BYTES = 8192  # read and masked at a time
LINE_END = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")
MAX_LINE = 1 << 20  # characters; a longer line is cut into several


class StageOutput:
    """Reads the output of a command in a thread: keeps the last lines, and passes each line on.

    While the command runs, a reader of the run that is slow slows the command down. Once the command has ended, its
    output is read without waiting for that reader.
    """

    def __init__(
        self,
        on_line: Callable[[str], object],
        wait_for_room: Callable[[float], bool],
        may_wait: Callable[[], bool] = lambda: True,
    ) -> None:
        """Creates the pipe and starts to read.

        Args:
            on_line: called with each line; must return at once.
            wait_for_room: waits up to a number of seconds until the reader of the run can take more lines; True then.
            may_wait: returns False once the command is being terminated.
        """
        self._read_end, self.write_end = os.pipe()
        self._on_line, self._wait_for_room, self._may_wait = on_line, wait_for_room, may_wait
        self._marker = f" {uuid4().hex}"  # the space completes no character of any encoding, and so is read as itself
        self._marker_read, self._unthrottled, self._is_closed = threading.Event(), threading.Event(), False
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True

    def catch_up(self, *, is_last: bool) -> None:
        """Waits until all that has been written so far is read; `is_last`: without waiting for the run's reader."""
        if is_last:
            self._unthrottled.set()
        self._marker_read.clear()
        os.write(self.write_end, f"{self._marker}\n".encode())
        self._marker_read.wait()

    def close(self, timeout_s: float) -> bool:
        """Closes the pipe; returns False if another process still holds it open after `timeout_s` seconds."""
        self._unthrottled.set()
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _read(self) -> None:
        try:
            for line in masked_lines(self._chunks()):
                self._handle(line)
        finally:  # else `catch_up` would wait for ever
            self._marker_read.set()
            os.close(self._read_end)

    def _chunks(self) -> Iterator[list[str]]:
        """Yields lines with their ends; waits for the reader of the run after each chunk."""
        name = codecs.lookup(locale.getencoding()).name
        make_decoder = codecs.getincrementaldecoder("utf-8" if name == "ascii" else name)  # Python writes UTF-8 then
        decoder = io.IncrementalNewlineDecoder(make_decoder(errors="replace"), translate=False)
        rest = ""
        while data := os.read(self._read_end, CHUNK_BYTES):
            *lines, rest = LINE_END.split(rest + decoder.decode(data))
            if len(rest) > MAX_LINE:
                lines, rest = [*lines, rest], ""
            yield from self._until_markers(lines)
            while self._is_throttled() and not self._wait_for_room(POLL_S):
                pass
        if rest := rest + decoder.decode(b"", final=True):
            yield [rest]

    def _is_throttled(self) -> bool:
        return self._may_wait() and not self._unthrottled.is_set()

    def _until_markers(self, lines: list[str]) -> Iterator[list[str]]:
        """Yields `lines` without the markers, which `mask` could change; the text before one may lack its line feed."""
        start, end = 0, f"{self._marker}\n"
        for number, line in enumerate(lines):
            if line.endswith(end):
                text = line.removesuffix(end)
                yield lines[start:number] + ([f"{text}\n"] if text else [])
                yield []  # what has been held is complete
                self._marker_read.set()
                start = number + 1
        if start < len(lines):
            yield lines[start:]

    def _handle(self, line: str) -> None:
        if self._is_closed:  # written by a process that has escaped, after the end of the stage
            return
        self.tail.append(line)
        with suppress(Exception):  # go on reading if `on_line` fails: a full pipe would block the stage
            self._on_line(line)
