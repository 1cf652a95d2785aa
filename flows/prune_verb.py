"""`inkflow prune`: its arguments; what it does is loaded when it is called."""

import argparse
from datetime import timedelta
from pathlib import Path

from flows.arguments import Verbs

DEFAULT_AGE = "30d"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "prune",
        help="free what old runs left: run cache, checkpoints, Prefect's records",
        description="Free old run-cache entries with what only they need, checkpoints of trainings that nobody came "
        "back for, and Prefect's records in .inkflow/up. What the workspace, a branch, a tag or an experiment needs "
        "stays.",
    )
    verb.add_argument("--older-than", type=age, metavar="AGE", help=f"30d, 12h; default: {DEFAULT_AGE}")
    verb.add_argument("--keep-size", type=size, metavar="SIZE", help="10G: the oldest go until the cache is no larger")
    verb.add_argument("--also-for", type=_path, action="append", default=[], metavar="PATH",
                      help="another project with the same cache: what it needs stays")  # fmt: skip
    verb.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    verb.add_argument("--json", action="store_true", help="print what went as JSON")
    verb.set_defaults(do=_do)


def age(text: str) -> timedelta:
    """`30d`, `12h`, `0`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "d")
    try:
        return timedelta(seconds=_positive(number) * UNITS[unit])
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number with s, m, h, d or w, as 30d") from error


def size(text: str) -> int:
    """`10G`, `500M`, `0`."""
    plain = text.upper().removesuffix("B")
    number, unit = (plain[:-1], plain[-1]) if plain[-1:] in SIZES else (plain, "")
    try:
        return int(_positive(number) * SIZES[unit])
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number with K, M, G or T, as 10G") from error


def _positive(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


def _path(text: str) -> Path:
    return Path(text).absolute()  # as the caller's folder has it


def _do(arguments: argparse.Namespace) -> int:
    from flows.prune import prune  # late: DVC takes its time to import

    return prune(arguments)
