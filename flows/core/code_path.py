"""The location of this project's own code, for processes that run in other folders."""

import os
from pathlib import Path

CODE = Path(__file__).parents[2]  # the folder of the packages `flows` and `stages`


def python_path() -> str:
    """Returns a PYTHONPATH that lists this code first, then the entries of the caller's PYTHONPATH."""
    paths = [str(CODE), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))
