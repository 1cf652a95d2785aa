"""Times in the names of files, of which the oldest are removed first."""

import time
from calendar import timegm
from collections.abc import Iterable
from contextlib import suppress


def next_stamp(form: str, now: str, names: Iterable[str]) -> str:
    """Returns `now`, or a second after the latest time that `names` begin with if the clock has gone back since.

    Args:
        form: how `strftime` wrote the times; their order is that of the texts.
        now: the time of the new file.
        names: of the files that exist; a name that begins with no such time is passed over.
    """
    times = {name[: len(now)] for name in names}
    latest = max((text for text in times if text > now and _is_time(form, text)), default=None)
    if latest is None:
        return now
    return time.strftime(form, time.gmtime(timegm(time.strptime(latest, form)) + 1))


def _is_time(form: str, text: str) -> bool:
    with suppress(ValueError):
        time.strptime(text, form)
        return True
    return False
