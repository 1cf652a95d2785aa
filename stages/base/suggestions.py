"""Messages about unknown names, with the nearest known name."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `did you mean 'epochs'? ` with the nearest known name, or "" if no known name is near enough."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {matches[0]!r}? " if matches else ""


def unknown_name_message(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns `there is no data set 'mnits'; did you mean 'mnist'? known: digits, mnist`."""
    names = list(known)
    return f"there is no {kind} {name!r}; {did_you_mean(name, names)}known: {', '.join(names) or 'none'}"
