"""Notes the files of the project that this process opens, one line each, in the file that INKFLOW_OPENED names.

A line has a kind, a tab and the path. The kind is `w` if the open creates or empties the file, `a` if it can change
parts alone, and `r` if it can read; behind `a` and `r` stands the time of the file's last change in nanoseconds.

Python imports it at its start, since the engine puts this folder first in the PYTHONPATH of stages; then it imports the
`sitecustomize` that this one hides. Any Python of a stage reads it: it needs the standard library of 3.6 alone.
"""

import codecs
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
    created, is_noting = os.fstat(record), True
    escape = codecs.lookup("unicode_escape").encode  # now: in the hook its import would call the hook

    def note(event: str, arguments: "tuple[object, ...]") -> None:
        nonlocal is_noting
        if event != "open" or not is_noting:
            return
        name, _, flags = arguments
        if not isinstance(name, (str, bytes)) or not isinstance(flags, int):
            return
        try:
            opened = _source(os.path.abspath(os.fsdecode(name)), flags)  # noqa: PTH100
            if opened in noted or not opened.startswith(folder):
                return
            kind = _kind(opened, flags)
            noting = opened + "\0" if kind.startswith("a") else opened  # it may be read afterwards
            now = os.fstat(record)
            is_noting = os.path.samestat(now, created) and now.st_size <= MAX_SIZE and len(noted) <= MAX_LINES
            if kind and noting not in noted and is_noting:  # else the program has its own file there, or it is full
                noted.add(noting)
                line = "{}\t{}\n".format(kind, escape(opened[len(folder) :])[0].decode("ascii"))
                os.write(record, line.encode("ascii"))
        except (OSError, ValueError):  # a name that is no path; a full disk: nothing is noted, and the stage goes on
            return

    return note


def _source(path: str, flags: int) -> str:
    """Returns the source of a compiled module that is opened for reading; other paths as they are."""
    if not path.endswith(".pyc") or flags & (os.O_WRONLY | os.O_RDWR):
        return path
    folder, name = os.path.split(path)
    prefix = getattr(sys, "pycache_prefix", None)
    prefix = prefix and os.path.abspath(prefix)  # noqa: PTH100
    if prefix and folder.startswith(prefix + os.sep):  # PREFIX/folder/module.cpython-313.opt-1.pyc
        folder = folder[len(prefix) :]
    elif os.path.basename(folder) == "__pycache__":  # noqa: PTH119
        folder = os.path.dirname(folder)  # noqa: PTH120
    else:
        return path
    return folder + os.sep + name.partition(".")[0] + ".py"


def _kind(path: str, flags: int) -> str:
    """Returns the first field of the line for a file that is about to be opened; empty for none."""
    if flags & getattr(os, "O_DIRECTORY", 0):
        return ""
    try:
        changed_ns = os.stat(path).st_ctime_ns  # noqa: PTH116
    except OSError:
        return "w" if flags & os.O_CREAT else ""
    if flags & os.O_TRUNC:
        return "w"
    if flags & os.O_EXCL:  # fails, since there is a file
        return ""
    return ("a" if flags & os.O_WRONLY else "r") + str(changed_ns)


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
