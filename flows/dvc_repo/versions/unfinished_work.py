"""Checkpoints and unfinished downloads of runs in clones lie in the project: the clone of a killed run is removed."""

from pathlib import Path

from stages.base.errors import OutputError

FOLDERS = (Path(".inkflow/checkpoints"), Path(".inkflow/downloads"))
OF_CLONES = "clone"  # apart from those of the project's own runs, which may use the same files at the same time


def keep_unfinished_work(clone: Path, root: Path) -> None:
    """Lets the stages in a clone go on with what a killed run in an earlier clone left, and leave theirs for others.

    The caller holds the lock of the clones, so that one run at a time has these files.

    Args:
        clone: the project's folder in the clone, in which nothing has run.
        root: the project's folder.

    Raises:
        OutputError: the folders cannot be made.
    """
    for folder in FOLDERS:
        kept, link = root / folder / OF_CLONES, clone / folder
        try:
            kept.mkdir(parents=True, exist_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(kept.resolve(), target_is_directory=True)
        except OSError as error:
            raise OutputError(kept, error) from error
