"""The DVC project that contains the current folder."""

import os
from pathlib import Path

from stages.base.errors import InvalidInput

MIRROR = "INKFLOW_MIRROR"  # a variable with the folder or base URL of data sets


def enter_project() -> None:
    """Changes into the root of the DVC project that contains the current folder: its files hold paths from there.

    Raises:
        InvalidInput: no DVC project contains the current folder.
    """
    folder = Path.cwd()
    root = next((parent for parent in (folder, *folder.parents) if (parent / ".dvc").is_dir()), None)
    if root is None:
        raise InvalidInput(f"{folder} is in no DVC project; go to the project's folder, or create one with `dvc init`")
    mirror = os.environ.get(MIRROR)
    if mirror and "://" not in mirror:
        os.environ[MIRROR] = str(Path(mirror).absolute())  # stages also run in other folders: the clones of a sweep
    os.chdir(root)
