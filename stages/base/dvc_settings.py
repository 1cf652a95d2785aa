"""Where DVC keeps its settings. Stages do not import DVC, and read some of its files."""

import os
import sys
from pathlib import Path

LIBRARY = "Library/Application Support"  # macOS's folder of settings


def settings_files() -> list[Path]:
    """Returns the files of DVC's settings in this project, the one that decides first: project, user, system.

    Source: dvc/dirs.py, and platformdirs, which DVC asks for the folders of user and system.
    """
    user, system = (f"~/{LIBRARY}", f"/{LIBRARY}") if sys.platform == "darwin" else ("~/.config", "/etc/xdg")
    folders = (
        _folder("DVC_GLOBAL_CONFIG_DIR", "XDG_CONFIG_HOME", user),
        _folder("DVC_SYSTEM_CONFIG_DIR", "XDG_CONFIG_DIRS", system),
    )
    return [Path(".dvc/config.local"), Path(".dvc/config"), *(folder / "config" for folder in folders)]


def _folder(own: str, standard: str, default: str) -> Path:
    """Returns the folder that the variable `own` names, or that of DVC below the first one of `standard`."""
    if named := os.environ.get(own):
        return Path(named)
    listed = filter(os.path.isabs, os.environ.get(standard, "").split(os.pathsep))
    return expanded(next(listed, default)) / "dvc"


def expanded(path: str) -> Path:
    """Replaces ~ in `path`, if the user has a home folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of pathlib raises where there is no home folder
