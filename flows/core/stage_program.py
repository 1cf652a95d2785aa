"""Running a program of `stages` that is no stage of the graph, for a verb of the command line."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.core.errors import ProgramFailed


def run_program(name: str, arguments: Sequence[str | Path], root: Path = Path()) -> str:
    """What `python -m stages.NAME` prints, run in the folder `root`.

    Raises:
        ProgramFailed: with the program's own sentence and exit code.
    """
    command = [sys.executable, "-m", f"stages.{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        said = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise ProgramFailed("\n".join(said or done.stderr.splitlines()[-3:]) or f"{name} failed", done.returncode)
    return done.stdout
