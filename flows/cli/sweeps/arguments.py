"""Adds the arguments of `inkflow sweep`: those of grids and those of searches. Imports only light modules."""

import argparse
import re
from datetime import timedelta

from flows.cli.arguments import UNIT_SECONDS, add_jobs, add_stages, age, count, path


def sweep(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow sweep`."""
    verb.description = (
        "Run combinations of parameters in parallel, each recorded as a DVC experiment "
        "(`dvc exp show`, `dvc exp apply NAME`). The workspace does not change. "
        "KEY is a key of params.yaml, or FILE:KEY of another file."
    )
    add_stages(verb)
    verb.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V1,V2", help="values to combine with all others"
    )
    verb.add_argument("--list", action="append", default=[], metavar='"KEY=V KEY2=V"', help="one combination")
    verb.add_argument("--from", type=path, dest="file", metavar="FILE", help="a file with a combination on each line")
    _add_search(verb.add_argument_group("search", "Optuna proposes the combinations: docs/search.md"))
    add_jobs(verb)
    verb.add_argument("--local", action="store_true", help="run every stage on this machine, whatever its pool")
    verb.add_argument("--json", action="store_true", help="print the result of each combination as JSON")


def _add_search(group: argparse._ArgumentGroup) -> None:
    """Adds the options of a search; none has a default, so that they are refused without --search."""
    group.add_argument("--search", choices=("tpe", "random", "cmaes"), help="how the combinations are proposed")
    group.add_argument(
        "--space", action="append", default=[], metavar="KEY=LOW..HIGH", help="also :log, :int, :step=X; or KEY=A|B|C"
    )
    group.add_argument("--objective", metavar="SCORE", help="a validation score: val_loss, val_accuracy, or FILE:KEY")
    group.add_argument("--direction", choices=("minimize", "maximize"), help="by the name of the score if left out")
    group.add_argument("--trials", type=count, metavar="N", help="trials of the whole study (default: 50)")
    group.add_argument("--prune", choices=("asha", "median"), help="end trials early by their live history")
    group.add_argument("--history", metavar="FILE:COLUMN", help="the live history, if it is not history.csv of a model")
    group.add_argument("--timeout", type=duration, metavar="TIME", help="such as 1h: no trial starts later")
    group.add_argument("--seed", type=int, metavar="N", help="of the proposals (default: 0)")
    group.add_argument("--study", type=_name, metavar="NAME", help="by default that of the same search before")
    group.add_argument("--storage", type=path, metavar="FOLDER", help="of the studies, shared by several machines")


def duration(text: str) -> timedelta:
    """Parses a time such as `90s` or `1h`, above 0; the unit is needed.

    Raises:
        ArgumentTypeError: it is not a number with a unit.
    """
    found = age(text) if text[-1:] in UNIT_SECONDS else timedelta()
    if not found:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0 with s, m, h, d or w, as 1h")
    return found


def _name(text: str) -> str:
    """Returns the name of a folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected letters, digits, '.', '_' and '-'")
    return text
