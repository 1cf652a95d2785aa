"""The package that an installation has: in it are Inkflow's packages `flows` and `stages`.

A project may have packages of these two names. They are not on Python's search path here, so the programs of its stages
import its own. A process that imports `inkflow` imports Inkflow's: the command, and the runs of deployments, whose
entry points have names such as `inkflow.flows.scheduled.scheduled`. In a checkout both packages are beside this one.
"""

import sys
from importlib import import_module
from pathlib import Path

_FOLDERS = (Path(__file__).parent, Path(__file__).parents[1])  # of an installation, of a checkout
CODE = next(folder for folder in _FOLDERS if (folder / "flows").is_dir())


def _import_own(name: str) -> None:
    """Imports the package `name` of this code; its modules are then found in its folder, whatever the search path.

    Raises:
        ImportError: the process has imported another package of that name.
    """
    sys.path.insert(0, str(CODE))
    try:
        module = import_module(name)
    finally:
        sys.path.remove(str(CODE))
    file = module.__file__ or "a folder without __init__.py"
    if not Path(file).parent.samefile(CODE / name):
        raise ImportError(
            f"inkflow needs its own package {name}, but this process has imported {file}; import inkflow before it, or "
            "in another process"
        )


for _name in ("flows", "stages"):
    _import_own(_name)
__path__.append(str(CODE))  # so that `inkflow.flows` has this name in a checkout too
