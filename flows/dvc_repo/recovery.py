"""Cleans up a working tree after a run that was killed."""

from pathlib import Path

from flows.core.project import STATE
from flows.dvc_repo.code.old_content import FOLDER as CODE
from flows.dvc_repo.dvc_errors import converted_errors
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.opening import open_repo
from flows.engine.environment.records import LOCK as ENVIRONMENTS
from flows.engine.output_backup import has_backups, restore_all
from flows.engine.processes.command_runner import terminate_orphans
from stages.base.files import remove_abandoned


def recover(root: Path) -> None:
    """Terminates the processes that killed runs left in the working tree at `root`, and restores their backups.

    Does not touch the stages that a living process runs: another run, or `dvc repro`. Waits while DVC's lock is held.

    Raises:
        PipelineInvalid: there are backups, and DVC cannot open the project.
    """
    end_leftovers(root)
    if has_backups(root):
        with converted_errors(root), open_repo(root) as repo:
            lock = RepoLock(repo)
            try:
                lock.run("the clean-up", lambda: restore_all(root))
            finally:
                lock.close()


def end_leftovers(root: Path) -> None:
    """Terminates the processes that killed runs left, and removes their temporary files; restores no backup."""
    state, temporary = root / STATE, root / ".dvc/tmp"
    for folder in (state, *filter(Path.is_dir, state.glob("*")), temporary, temporary / CODE):
        remove_abandoned(folder)
    remove_abandoned(root, ENVIRONMENTS)
    if has_backups(root):
        terminate_orphans(root.resolve())
