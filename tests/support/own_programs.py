"""Programs of `stages` in this process, for tests of what a command does before and after the program."""

import inspect
import io
import sys
from collections.abc import Sequence
from contextlib import chdir, nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from flows.core.errors import ProgramFailed
from stages.base.errors import InkflowError


def run_here(
    name: str, arguments: Sequence[str | Path], root: Path = Path(), *, show: bool = False, own: bool = False
) -> str:
    """Does what `flows.core.stage_program.run_program` does, without a process: two seconds of imports less."""
    module = import_module(f"stages.{name}")
    program = import_module(f"{module.__name__}.__main__") if hasattr(module, "__path__") else module
    printed, words = io.StringIO(), list(map(str, arguments))
    given = [words] if inspect.signature(program.main).parameters else []  # a stage reads sys.argv
    with chdir(root), patch.object(sys, "argv", [name, *words]), nullcontext() if show else redirect_stdout(printed):
        try:
            code = program.main(*given)
        except InkflowError as error:
            raise ProgramFailed(str(error), error.exit_code) from error
    assert code == 0, f"{name} returned {code}"
    return printed.getvalue()
