"""A process that terminates the processes of an `inkflow up` as soon as that `inkflow up` has ended, even by a kill.

The watchdog reads a pipe whose other end `inkflow up` holds open and never writes to; the pipe closes with that
process. Flow runs are children of a worker, not of `inkflow up`, so all processes are found by the environment
variable MARK, which they inherit.
"""

import os
import sys
from contextlib import suppress

import psutil

from flows.engine.processes.process_trees import terminate_all

MARK = "INKFLOW_UP"


def marked_pids(mark: str) -> list[int]:
    """Returns the ids of the processes with this mark; `:FOLDER` matches every mark of an `inkflow up` in FOLDER."""
    pids = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            value = process.environ().get(MARK, "")
            if process.pid != os.getpid() and (value == mark or (mark.startswith(":") and value.endswith(mark))):
                pids.append(process.pid)
    return pids


def terminate_marked(mark: str) -> None:
    """Terminates the processes that `marked_pids` finds."""
    terminate_all(lambda: marked_pids(mark))


if __name__ == "__main__":
    sys.stdin.buffer.read()
    terminate_marked(sys.argv[1])
