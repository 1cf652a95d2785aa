"""Puts a working tree in order after a run that was killed."""

import fcntl
from contextlib import suppress
from pathlib import Path

from flows.core.file_lock import RUN_LOCK
from flows.engine.output_backup import anything_aside, put_all_back
from flows.engine.processes.command_runner import end_orphans


def put_in_order(root: Path) -> None:
    """After a killed run: end what it left running, and put back what it had put aside."""
    if anything_aside(root):
        end_orphans(root.resolve())
        put_all_back(root)


def put_in_order_if_free(root: Path) -> None:
    """Put the folder in order as the next run would, unless a run is under way here."""
    if (root / RUN_LOCK).exists():
        with (root / RUN_LOCK).open("a") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            put_in_order(root)
