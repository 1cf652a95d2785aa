"""Adds the arguments of `inkflow verify` to its parser."""

import argparse
from contextlib import suppress
from pathlib import Path

from flows.cli.arguments import add_jobs, non_negative


def verify(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow verify`."""
    verb.description = (
        "Run stages again in a clean temporary folder: all stages from scratch, or the named ones on the inputs in the "
        "workspace. Reports for each output: same bytes, same values, within tolerance or different. "
        "Exit code 1: an output is different. The workspace does not change. With --against, no stage runs: compares "
        "dvc.lock with another machine's; exit code 3 says that nothing is different, but not all can be compared "
        "(docs/reproducibility.md)."
    )
    verb.add_argument("stages", nargs="*", metavar="STAGE", help="only these stages or groups; all by default")
    verb.add_argument(
        "--against",
        type=_path_or_name,
        metavar="LOCK",
        help="another machine's dvc.lock: a file, a commit, branch, tag or experiment, or a URL",
    )
    add_jobs(verb)
    verb.add_argument("--tolerance", type=_tolerance, default=1e-6, metavar="X", help="of numbers (default: 1e-6)")
    verb.add_argument("--json", action="store_true", help="print the result of each output as JSON")


def _tolerance(text: str) -> float:
    try:
        return non_negative(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text}, expected a finite number from 0 on") from error


def _path_or_name(text: str) -> str:
    """Returns `text` as an absolute path if there is such a file or folder, else as it is."""
    with suppress(OSError, ValueError):  # a text that no path can be
        return str(Path(text).absolute()) if text and Path(text).exists() else text
    return text
