"""The DVC project around the current folder."""

import os
from pathlib import Path

from stages.base.errors import InvalidInput

MIRROR = "INKFLOW_MIRROR"  # where data sets lie; a folder's name starts where the caller is


def enter_project() -> None:
    """Make the DVC project around the current folder the current folder: paths in its files start there.

    Raises:
        InvalidInput: there is none.
    """
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)
    if root is None:
        raise InvalidInput(f"{here} is in no DVC project; go to the project's folder, or begin one with `dvc init`")
    mirror = os.environ.get(MIRROR)
    if mirror and "://" not in mirror:
        os.environ[MIRROR] = str(Path(mirror).absolute())  # stages run elsewhere too, as in the clones of a sweep
    os.chdir(root)
