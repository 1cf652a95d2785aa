"""Notes the programs, the connections and the files of others of a reader that should only read its own.

Python's audit events tell of them; what a library of C does by itself is not noticed.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.root import ROOT

DEEDS = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "socket.connect",
    "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
}  # fmt: skip
# Events of files: where their arguments have the path, and the folder that it counts from. `shutil` raises them too.
READS = {"open": ((0, None),), "os.listdir": ((0, None),), "os.scandir": ((0, None),)}
CHANGES = {"os.truncate": ((0, None),), "os.chmod": ((0, 2),), "os.chown": ((0, 3),), "os.utime": ((0, 3),)}
NAMES = {  # they do not follow a link
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.symlink": ((1, 2),),
    "os.rename": ((0, 2), (1, 3)), "os.link": ((0, 2), (1, 3)),
}  # fmt: skip
FILES = READS | CHANGES | NAMES
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CACHE = f"{os.sep}__pycache__{os.sep}"  # of Python and Numba
SEARCH = ("os.listdir", os.path.realpath(ROOT))  # of Python, for a module in the current folder
CODE = ("stages", "flows", "inkflow", "custom", "tests")  # of the repository
READABLE = tuple(
    os.path.realpath(place)
    for place in (
        sys.prefix, sys.base_prefix,  # modules that are imported late, and their data
        *(str(ROOT / name) for name in CODE),  # the same, of the project
        "/proc/self", "/proc/meminfo", "/sys/fs/cgroup",  # the memory and the cores that the process may use
        "/usr/share/zoneinfo", "/usr/share/locale", "/usr/lib/locale", "/usr/share/fonts",  # times, texts, charts
        "/dev/urandom",  # seeds
    )
)  # fmt: skip


class _Block(NamedTuple):
    folders: tuple[str, ...]  # none: files are not noted
    noted: list[str]


_blocks: list[_Block] = []


@contextmanager
def audited(*folders: Path) -> Iterator[list[str]]:
    """Yields a list that gets what this process does in the block.

    Args:
        folders: where files may be read, written and removed; without any, files are not noted at all.
    """
    _install()
    block = _Block(tuple(os.path.realpath(folder) for folder in folders), [])
    _blocks.append(block)
    try:
        yield block.noted
    finally:
        _blocks.remove(block)


@cache
def _install() -> None:
    """Adds the hook, which Python cannot remove."""
    sys.addaudithook(_note)


def _note(event: str, arguments: Sequence[Any]) -> None:
    for block in _blocks:
        if event in DEEDS:
            block.noted.append(f"{event} {arguments!r}"[:300])
        elif event in FILES and block.folders:
            is_read = event in READS and not (event == "open" and arguments[2] & WRITES)
            allowed = (*block.folders, os.devnull, *(READABLE if is_read else ()))
            verb = {True: "read", False: "wrote" if event == "open" else event}[is_read]
            places = (place for place in _places(event, arguments) if not _is_below(place, allowed))
            block.noted.extend(f"{verb} {place}" for place in places)


def _is_below(place: str, tops: Sequence[str]) -> bool:
    return any(f"{place}{os.sep}".startswith(top + os.sep) for top in tops)


def _places(event: str, arguments: Sequence[Any]) -> Iterator[str]:
    """Yields the files of an event, without links; no descriptors of open files, and no caches."""
    for index, base in FILES[event]:
        if isinstance(arguments[index], int):
            continue
        path = Path(os.fsdecode("." if arguments[index] is None else arguments[index]))
        if base is not None and arguments[base] >= 0:
            path = Path(f"/proc/self/fd/{arguments[base]}", path)
        elif event == "open" and arguments[1] is None and not path.is_absolute() and not os.path.lexists(path):
            continue  # os.open counts it from a folder that the event does not tell, such as that of shutil.rmtree
        place = f"{os.path.realpath(path.parent)}/{path.name}" if event in NAMES else os.path.realpath(path)
        if CACHE not in f"{place}{os.sep}" and (event, place) != SEARCH:
            yield place
