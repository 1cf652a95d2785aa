"""Notes the programs, connections and written files of a reader that should only read.

Python's audit events tell of them; what a library of C does by itself is not noticed.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

DEEDS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "socket.connect"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
HARMLESS = ("/dev/", "/proc/")  # and the caches of Python and Numba
CACHE = "__pycache__"

_blocks: list[tuple[str | None, list[str]]] = []  # of `audited`: the folder to write to, and what was noted


@contextmanager
def audited(folder: Path | None = None) -> Iterator[list[str]]:
    """Yields a list that gets what this process does in the block; files that it writes if `folder` is given.

    Args:
        folder: where files may be written.
    """
    _install()
    block: tuple[str | None, list[str]] = (os.path.realpath(folder) if folder else None, [])
    _blocks.append(block)
    try:
        yield block[1]
    finally:
        _blocks.remove(block)


@cache
def _install() -> None:
    """Adds the hook, which Python cannot remove."""
    sys.addaudithook(_note)


def _note(event: str, arguments: Sequence[Any]) -> None:
    if _blocks and (event in DEEDS or event == "open"):
        for folder, noted in _blocks:
            if event in DEEDS:
                noted.append(f"{event} {arguments!r}"[:300])
            elif folder and (place := _written(arguments)) and not f"{place}{os.sep}".startswith(folder + os.sep):
                noted.append(f"wrote {place}")


def _written(arguments: Sequence[Any]) -> str:
    """Returns the file that is opened to be written; an empty text for others, and for files that any reader writes."""
    path, flags = arguments[0], arguments[2]
    if isinstance(path, int) or not isinstance(flags, int) or not flags & WRITES:
        return ""
    place = os.path.realpath(os.fsdecode(path))
    return "" if place.startswith(HARMLESS) or CACHE in place else place
