"""Runs a program of `stages` that is not a stage of the graph."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.core.code_path import own_command
from flows.core.errors import ProgramFailed, error_message
from flows.core.extras import missing_package

MISSING_MODULE = re.compile(r"^ModuleNotFoundError: No module named '([\w.]+)'$", re.MULTILINE)


def program_command(name: str, arguments: Sequence[str | Path], root: Path = Path()) -> list[str]:
    """Returns the command line of `python -m stages.NAME`: the project's program, or that of this code."""
    module, words = f"stages.{name}", list(map(str, arguments))
    path = root.joinpath(*module.split("."))
    is_in_project = path.is_dir() or path.with_name(f"{path.name}.py").is_file()
    return [sys.executable, "-m", module, *words] if is_in_project else own_command(module, *words)


def run_program(
    name: str, arguments: Sequence[str | Path], root: Path = Path(), *, show: bool = False, own: bool = False
) -> str:
    """Runs `python -m stages.NAME ARGUMENTS` in the folder `root` and returns its standard output.

    The program is the project's own, or that of this code where the project has none, or with `own` always.

    With `show`, the standard output is that of this process, and an empty text is returned.

    Raises:
        MissingPackage: it needs a package of an extra that is not installed.
        ProgramFailed: it failed; message and exit code are the program's own.
    """
    words = list(map(str, arguments))
    command = own_command(f"stages.{name}", *words) if own else program_command(name, words, root)
    output = None if show else subprocess.PIPE
    process = subprocess.run(command, cwd=root, stdout=output, stderr=subprocess.PIPE, text=True)
    if process.returncode:
        lines = process.stderr.splitlines()
        absent = MISSING_MODULE.search(process.stderr)
        if absent and (missing := missing_package(absent[1])):
            raise missing
        raise ProgramFailed(error_message(lines) or "\n".join(lines[-3:]) or f"{name} failed", process.returncode)
    return process.stdout or ""
