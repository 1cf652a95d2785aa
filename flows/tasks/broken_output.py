"""Lets a run go on when nobody reads its output: a deployed run writes to a pipe of its worker, which may die alone."""

import os

from rich.console import Console


def ignore_broken_output() -> None:
    """Makes rich, with which Prefect prints log lines, discard them if their reader has gone; it would end the process.

    Prefect's server gets the lines in any case.
    """
    setattr(Console, "on_broken_pipe", _discard_output)  # noqa: B010 - mypy refuses an assignment to a method


def _discard_output(console: Console) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, console.file.fileno())
    os.close(null)
