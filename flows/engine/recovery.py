"""Cleans up a working tree after a run that was killed."""

import fcntl
from contextlib import suppress
from pathlib import Path

from flows.core.file_lock import RUN_LOCK
from flows.engine.output_backup import has_backups, restore_all
from flows.engine.processes.command_runner import terminate_orphans


def recover(root: Path) -> None:
    """Terminates the processes that a killed run left in the working tree at `root`, and restores its backups."""
    if has_backups(root):
        terminate_orphans(root.resolve())
        restore_all(root)


def recover_if_idle(root: Path) -> None:
    """Calls `recover`, unless a run is in progress in the working tree at `root`."""
    if not has_backups(root):
        return
    with (root / RUN_LOCK).open("a") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        recover(root)
