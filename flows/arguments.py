"""Arguments that several verbs share."""

import argparse
from pathlib import Path
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # argparse has no public name for it


def add_stages(verb: argparse.ArgumentParser) -> None:
    """Give `verb` the names of stages."""
    verb.add_argument("stages", nargs="*", metavar="STAGE", help="stages or groups (train@cnn, train); all by default")


def add_jobs(verb: argparse.ArgumentParser) -> None:
    """Give `verb` the number of stages that run side by side."""
    verb.add_argument("--jobs", type=_count, metavar="N", help="stages that may run at the same time (default: cores)")


def path_here(text: str) -> Path:
    """`text` as the caller's folder has it: the verbs work in the project's."""
    return Path(text).absolute()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected 1 or more")
    return number
