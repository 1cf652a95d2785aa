"""Cleans up a working tree after a run that was killed."""

from pathlib import Path

from flows.engine.output_backup import has_backups, restore_all
from flows.engine.processes.command_runner import terminate_orphans


def recover(root: Path) -> None:
    """Terminates the processes that killed runs left in the working tree at `root`, and restores their backups.

    Does not touch the stages of a run that lives.
    """
    if has_backups(root):
        terminate_orphans(root.resolve())
        restore_all(root)
