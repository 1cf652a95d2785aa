"""Ends what `inkflow up` started when `inkflow up` itself is gone, however it went.

It reads a pipe that nobody writes to: the end of the pipe is the end of the other process. Runs that a worker
started are no children of ours, so they are known by a mark in their environment, which is handed down.
"""

import os
import sys
from contextlib import suppress

import psutil

from flows.engine.processes.process_trees import end_found

MARK = "INKFLOW_UP"


def marked(value: str) -> list[int]:
    """Processes that carry this mark, or any mark of the same folder when it starts with `:`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK, "")
            if process.pid != os.getpid() and (mark == value or (value.startswith(":") and mark.endswith(value))):
                found.append(process.pid)
    return found


def end_marked(value: str) -> int:
    """End them; how many there were."""
    return end_found(lambda: marked(value))


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_marked(sys.argv[1])
