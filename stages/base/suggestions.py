"""The nearest of the known names, for messages about an unknown one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'epochs'? ` where a known name is near enough, else nothing; to stand before the known names."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """`there is no data set 'mnits'; did you mean 'mnist'? known: digits, mnist`."""
    names = list(known)
    return f"there is no {kind} {name!r}; {did_you_mean(name, names)}known: {', '.join(names) or 'none'}"
