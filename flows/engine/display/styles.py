"""Colours that are readable on black and on white, durations, and names that fit a terminal's width."""

import os
import sys

GOOD, INFO, WARNING, BAD, DIM = "green4", "dodger_blue2", "dark_orange3", "bold red3", "bright_black"
ELLIPSIS = "…"
MIN_NAME = 16  # characters of a name on a narrow terminal


def shortened(name: str, width: int) -> str:
    """Returns `name`, or its begin and end with an ellipsis between them if it is longer than `width`."""
    if len(name) <= width:
        return name
    end = max(1, (width - 1) // 2)
    return f"{name[: max(1, width - 1 - end)]}{ELLIPSIS}{name[-end:]}"


def name_width(names: list[str], columns: int) -> int:
    """Returns the width of a column of `names` that leaves two thirds of a terminal with `columns` to the rest."""
    return min(max(map(len, names), default=0), max(MIN_NAME, columns // 3))


def duration(seconds: float) -> str:
    """Returns a duration as text: 4.2 s, 2 min 3 s, 1 h 5 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def rough_duration(seconds: float) -> str:
    """Returns seconds in the largest unit that counts at least 2 of it, as `90 s`, `5 min`, `47 h`, `3 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def is_live_terminal() -> bool:
    """Returns whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
