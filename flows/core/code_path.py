"""The location of this code, and how processes find it in projects that may have packages `flows` and `stages` too.

In a checkout the folder CODE has the package `inkflow`; in an installation CODE is the folder of this package.
"""

import os
import sys
from pathlib import Path

CODE = Path(__file__).parents[2]  # the folder of the packages `flows` and `stages`
# Imports both packages from CODE, which then leaves the search path, and runs a module as `python -m` does.
PROGRAM = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); import flows, stages; del sys.path[0]; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def own_command(module: str, *arguments: str) -> list[str]:
    """Returns the command line that runs a module of this code, in any folder and with any PYTHONPATH."""
    return [sys.executable, "-P", "-c", PROGRAM, str(CODE), module, *arguments]


def python_path() -> str:
    """Returns a PYTHONPATH with which Prefect's processes find the package `inkflow`, for deployed flows.

    The caller's entries come first: stages inherit this path, and import the packages of their project.
    """
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    checkout = [str(CODE)] if (CODE / "inkflow").is_dir() else []  # an installation is on the search path
    return os.pathsep.join(dict.fromkeys([*inherited, *checkout]))
