"""Where this project's own code lies: processes in other folders have to find it."""

import os
from pathlib import Path

CODE = Path(__file__).parents[2]  # the folder of the packages `flows` and `stages`


def python_path() -> str:
    """PYTHONPATH with which a process in any folder finds this code, before what the caller's names."""
    paths = [str(CODE), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))
