"""Notes on standard error."""

import sys
from contextlib import suppress


def tell(text: str) -> None:
    """Writes `text` and a line end to standard error at once.

    A note that cannot be written, as on a full disk or to a closed pipe, is lost: the work that it is about goes on.
    """
    with suppress(OSError, ValueError):  # Python raises a ValueError if the stream is closed
        print(text, file=sys.stderr, flush=True)
