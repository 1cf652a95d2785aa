"""Standard output and standard error whose encoding lacks characters, as ASCII does, or that of an old terminal."""

import codecs
import io
import sys


def escape_unencodable() -> None:
    """Lets standard output and standard error write the characters that their encoding lacks as escapes of Python."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def takes_ascii_only() -> bool:
    """Returns whether JSON for standard output has to be ASCII: Python's escapes are none of JSON's."""
    encoding = getattr(sys.stdout, "encoding", None)  # of a text in memory None
    return encoding is not None and not codecs.lookup(encoding).name.startswith("utf")
