"""Commands on a terminal of a stated size: what they print, and what the screen then shows."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07]*\x07|[\r\n]")


def run_on_terminal(
    command: Sequence[str], folder: Path, columns: int, environment: Mapping[str, str] | None = None, rows: int = 50
) -> tuple[int, str]:
    """Runs `command` on a terminal with `columns`; returns its exit code and all that it wrote."""
    terminal, child_side = pty.openpty()
    fcntl.ioctl(child_side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
    for name in ("COLUMNS", "LINES"):
        variables.pop(name, None)
    chunks: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(terminal, 65536):
                chunks.append(data)
        except OSError:  # the other side is closed
            pass

    with subprocess.Popen(
        command, cwd=folder, env=variables, stdin=child_side, stdout=child_side, stderr=child_side
    ) as process:
        os.close(child_side)
        reader = threading.Thread(target=read)
        reader.start()
        code = process.wait(timeout=600)
    reader.join(240)
    os.close(terminal)
    return code, b"".join(chunks).decode(errors="replace")


class Screen:
    """The lines that a terminal shows, with their colours as escape codes; knows what Rich's live displays write."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self._row = 0

    def write(self, text: str) -> None:
        """Writes `text`, which moves the cursor by whole lines alone."""
        position, at_start = 0, False
        for match in CONTROL.finditer(text):
            self._put(text[position : match.start()], at_start=at_start)
            at_start = at_start and match.start() == position
            position = match.end()
            if match[0] == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
                at_start = False
            elif match[0] == "\r":
                at_start = True
            elif match[2] == "A":
                self._row = max(0, self._row - int(match[1] or 1))
            elif match[2] == "K":
                self.lines[self._row], at_start = "", False
            elif match[2] == "m":
                self._put(match[0], at_start=at_start)
                at_start = False
        self._put(text[position:], at_start=at_start)

    @property
    def text(self) -> str:
        """The lines without their colours."""
        return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(self.lines))

    def _put(self, text: str, *, at_start: bool) -> None:
        if text:
            self.lines[self._row] = text if at_start else self.lines[self._row] + text


def frames(text: str, count: int) -> Iterator[Screen]:
    """Yields the screen at about `count` moments, each just before a live display was drawn again."""
    ends = [match.start() for match in re.finditer(r"\r\x1b\[2K", text)]
    screen, start = Screen(), 0
    for end in [*ends[:: max(1, len(ends) // count)], len(text)]:
        screen.write(text[start:end])
        start = end
        yield screen
