"""Standard output and standard error, which may be closed, full, or of an encoding that lacks characters."""

import codecs
import io
import sys
from contextlib import suppress


def tell(text: str) -> None:
    """Writes `text` and a line end to standard error at once.

    A note that cannot be written, as on a full disk or to a closed pipe, is lost: the work that it is about goes on.
    """
    with suppress(OSError, ValueError):  # Python raises a ValueError if the stream is closed
        print(text, file=sys.stderr, flush=True)


def escape_unencodable() -> None:
    """Lets standard output and standard error write the characters that their encoding lacks as escapes of Python."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":  # else it keeps the bytes of names
            stream.reconfigure(errors="backslashreplace")


def takes_ascii_only() -> bool:
    """Returns whether JSON for standard output has to be ASCII: Python's escapes are none of JSON's."""
    encoding = getattr(sys.stdout, "encoding", None)  # of a text in memory None
    return encoding is not None and not codecs.lookup(encoding).name.startswith("utf")
