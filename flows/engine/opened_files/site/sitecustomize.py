"""Notes the files of the project that this process opens, one line each, in the file that INKFLOW_OPENED names.

Python imports it at its start, since the engine puts this folder first in the PYTHONPATH of stages; then it imports the
`sitecustomize` that this one hides. Any Python of a stage reads it: it needs the standard library of 3.6 alone.
"""

import os
import sys

TYPE_CHECKING = False  # as in typing, without its import
if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "INKFLOW_OPENED"
HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would take 10 ms of each start
ROOT_PARENTS = 3  # the record is .inkflow/opened/STAGE of the project
MAX_LINES = 100000  # of one process
MAX_SIZE = 20000000  # bytes of the record, of all processes of the stage


def install() -> None:
    """Adds the audit hook, if this is a process of a stage; an audit hook cannot be removed."""
    path = os.environ.get(VARIABLE)
    if not path or not hasattr(sys, "addaudithook"):
        return
    try:
        record = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError:  # the run has ended
        return
    sys.addaudithook(_hook(path, record))


def _hook(path: str, record: int) -> "Callable[[str, tuple[object, ...]], None]":
    """Returns the hook, which writes to the descriptor `record` as long as that is the file at `path`."""
    root = path
    for _ in range(ROOT_PARENTS):
        root = os.path.dirname(root)  # noqa: PTH120
    folder, noted = root + os.sep, {path}
    writes = os.O_WRONLY | os.O_TRUNC | os.O_EXCL
    created, is_noting = os.fstat(record), True

    def note(event: str, arguments: "tuple[object, ...]") -> None:
        nonlocal is_noting
        if event != "open" or not is_noting:
            return
        name, _, flags = arguments
        if not isinstance(name, (str, bytes)) or not isinstance(flags, int):
            return
        try:
            opened = os.path.abspath(os.fsdecode(name))  # noqa: PTH100
            if opened in noted or not opened.startswith(folder):
                return
            now = os.fstat(record)
            is_noting = os.path.samestat(now, created) and now.st_size <= MAX_SIZE and len(noted) <= MAX_LINES
            if is_noting:  # else the program has a file of its own there, or the record is full
                noted.add(opened)
                kind = "w" if flags & writes else "r"
                line = "{}\t{}\n".format(kind, opened[len(folder) :].encode("unicode_escape").decode("ascii"))
                os.write(record, line.encode("ascii"))
        except (OSError, ValueError):  # a name that is no path; a full disk: nothing is noted, and the stage goes on
            return

    return note


def import_hidden() -> None:
    """Imports the `sitecustomize` of the environment, which this one hides, and takes this folder out of the path."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]  # noqa: PTH100
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", "") != "sitecustomize":
            raise
        if own is not None:
            sys.modules["sitecustomize"] = own


if __name__ == "sitecustomize":
    install()
    import_hidden()
