"""The exceptions of the project, as one tree. Each exception has an exit code.

    InkflowError                 1   the work failed
    ├── InvalidInput             2   an input cannot be used; running again without a change fails again
    │   ├── ParamsError              params.yaml
    │   ├── DataError                a data set or an image
    │   ├── ModelError               a model file
    │   └── DeviceMissing            `device: gpu` without a usable GPU
    ├── SourceUnavailable       69   a data source does not respond; a later attempt may succeed (EX_UNAVAILABLE)
    └── OutputError              1   a file cannot be written

Each message is one sentence: what, got, expected, what to do. EX_UNAVAILABLE is defined in sysexits.h.
"""

import errno
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import NoReturn

from stages.base.shown_text import shown_text
from stages.base.streams import escape_unencodable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_UNAVAILABLE = 69
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


class InkflowError(Exception):
    """The work failed. The message is one sentence for the user."""

    exit_code = EXIT_FAILED


class InvalidInput(InkflowError):
    """An input cannot be used. Running again without a change fails again."""

    exit_code = EXIT_INVALID


class ParamsError(InvalidInput):
    """params.yaml is invalid. `messages` has one sentence for each mistake, without the path."""

    def __init__(self, path: str, messages: Sequence[str]) -> None:
        self.messages = tuple(messages)
        super().__init__("\n".join(f"{path}: {message}" for message in messages))


class DataError(InvalidInput):
    """A data set or an image is missing or invalid."""


class ModelError(InvalidInput):
    """A model file cannot be read or does not match the data."""


class DeviceMissing(InvalidInput):
    """`device: gpu` is set, but no GPU can be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"`device: gpu` is set, but no GPU can be used: {reason}; or choose `device: auto`")


class SourceUnavailable(InkflowError):
    """No reachable source has the data. A later attempt may succeed."""

    exit_code = EXIT_UNAVAILABLE


_SPACE = "free disk space, then run again"
_MEMORY = "close other programs or raise the limit on memory (ulimit -v), then run again"
_FILES = "close other programs or raise the limit on open files (ulimit -n), then run again"
_PERMISSION = "fix the permissions of the folder or choose another path, then run again"
REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), then run again",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOENT: "choose another path",
    errno.EROFS: "choose a path on a writable file system",
    errno.EISDIR: "the path is a folder: choose a file in it",
    errno.ENOTDIR: "a part of the path is a file: choose another path",
    errno.EEXIST: "a part of the path is a file: choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: "close other programs or raise the limit on processes (ulimit -u), then run again",
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EIO: "look at the health of the disk, then run again",
}
MACHINE = (  # errors that any line of a program can meet
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
    errno.EIO,
)
OF_ONE_FILE = (errno.EACCES, errno.EPERM, errno.EIO)  # those after which other files can still be read
# What the loader of shared libraries says where the machine is at a limit; a missing library is another matter.
LOADER_FAULTS = ("failed to map segment", "Cannot allocate memory", "Too many open files")
THREAD_FAULTS = ("start new thread", os.strerror(errno.EAGAIN))  # of Python, and of TensorFlow's own threads
MIN_FREE = 64 << 20  # bytes: libraries allocate memory in large pieces
NO_THREAD = f"error: there is not enough memory to start a thread; {_MEMORY}\n".encode()  # made while there is memory
STARTERS = {"fork", "forkpty", "_fork_exec", "fork_exec", "posix_spawn"}  # functions that start processes


class OutputError(InkflowError):
    """A file cannot be written. The earlier file is unchanged."""

    def __init__(self, path: object, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(
            f"cannot write {path}: {reason}; {REMEDIES.get(error.errno or 0, 'fix the cause, then run again')}"
        )


def exit_with(main: Callable[[], int]) -> int:
    """Runs `main` and returns its exit code; prints an InkflowError to standard error instead of raising it.

    Characters that standard output cannot encode are escaped. If nothing reads it any more, as after `| head`, the
    program ends without a message.
    """
    _silence_destructors()
    escape_unencodable()
    try:
        code = main()
        _flush_pipe()
        return code
    except InkflowError as error:
        print(f"error: {shown_text(str(error))}", file=sys.stderr)
        return error.exit_code
    except (ImportError, MemoryError, OSError, RuntimeError, SystemError, ValueError) as error:
        if _is_output_closed(error):
            return EXIT_BROKEN_PIPE
        sentence = machine_fault(error)
        if sentence is None:
            raise
        print(f"error: {shown_text(sentence)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _flush_pipe() -> None:
    """Writes what standard output has kept, so that a closed pipe is noticed here; others report a full disk."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError, AttributeError):  # AttributeError: there is none
        pass


@contextmanager
def unread_output() -> Iterator[None]:
    """Lets the block print to a standard output that nothing reads any more."""
    try:
        yield
    except BrokenPipeError as error:
        if not _is_output_closed(error):
            raise


def _is_output_closed(error: BaseException) -> bool:
    """Returns whether nothing reads standard output any more; then the rest of the output goes nowhere."""
    if not isinstance(error, BrokenPipeError) or sys.stdout is None:
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not poll.poll(0):  # the error is that of another pipe
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return True


def _silence_destructors() -> None:
    """Lets destructors fail without a traceback where the machine is at a limit: the program's own error tells it.

    A thread without memory to begin ends the program.
    """
    others = sys.unraisablehook
    if getattr(others, "__module__", "") == __name__:
        return

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        thread = getattr(unraisable.object, "__self__", None)
        started = getattr(thread, "_started", None) if isinstance(thread, Thread) else None
        if isinstance(started, Event) and not started.is_set():
            with suppress(OSError):  # the thread could not begin, and Python lets its starter wait for ever
                os.write(2, NO_THREAD)
            os.kill(os.getpid(), signal.SIGTERM)
            started.set()  # the end of the program may wait for the starter
        elif unraisable.exc_value is None or machine_fault(unraisable.exc_value) is None:
            others(unraisable)

    sys.unraisablehook = hook


def machine_fault(error: BaseException) -> str | None:
    """Returns a sentence for an error that the machine has caused, such as too little memory; None for any other."""
    if isinstance(error, MemoryError) or _is_memory_error(error):
        return f"there is not enough memory; {_MEMORY}"
    if isinstance(error, OSError) and error.errno in MACHINE and _is_of_machine(error):
        path = f"{error.filename}: " if error.filename else ""
        return f"{path}{error.strerror}; {REMEDIES[error.errno]}"
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # Python's tempfile
        return f"{error.strerror}; free disk space, raise the limits (ulimit -f, -n) or set TMPDIR, then run again"
    if isinstance(error, ImportError) and any(text in str(error) for text in LOADER_FAULTS):
        return f"a library cannot be loaded: {error}; raise the limits on memory and files (ulimit), then run again"
    if isinstance(error, RuntimeError) and any(text in str(error) for text in THREAD_FAULTS):
        return f"no thread can be started; {_MEMORY}"
    if isinstance(error, ValueError) and "oneshot canceled" in str(error):  # vl-convert, whose own thread has ended
        return "the charts cannot be drawn; raise the limits on memory and open files (ulimit), then run again"
    return None


def _is_memory_error(error: BaseException) -> bool:
    """Returns True for a C++ library's own error without memory, and for an extension's after a MemoryError.

    An extension can lose the MemoryError: then it counts where hardly any of the allowed memory is left.
    """
    is_of_library = isinstance(error, ImportError | RuntimeError) and "bad_alloc" in str(error)
    return is_of_library or (isinstance(error, SystemError) and (_has_memory_error(error) or _is_memory_used_up()))


def _is_memory_used_up() -> bool:
    """Returns True if this process has less than MIN_FREE left of its limit on memory (ulimit -v)."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return False
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (OSError, MemoryError):
        return True
    return limit - pages * resource.getpagesize() < MIN_FREE


def raise_fault(error: BaseException) -> None:
    """Raises an error of reading a file again if the machine has caused it: the file is not to blame.

    What can be the matter of this file alone, such as its permissions, is not raised.
    """
    if not (isinstance(error, OSError) and error.errno in OF_ONE_FILE) and machine_fault(error) is not None:
        raise error


def _has_memory_error(error: BaseException | None) -> bool:
    """Returns True if the error, or one that led to it, is a MemoryError."""
    seen: list[BaseException] = []
    while error is not None and not isinstance(error, MemoryError) and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return isinstance(error, MemoryError)


def _is_of_machine(error: OSError) -> bool:
    """Returns False for a use of permissions that is no file's, and for a file that is merely not ready."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return error.filename is not None
    if error.errno != errno.EAGAIN:
        return True
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and not STARTERS.isdisjoint(place.tb_frame.f_code.co_names)


def end_process(code: int) -> NoReturn:
    """Ends the process with this exit code; after a success without freeing its memory, which takes 1 s for Keras.

    All files must be closed: functions registered with `atexit` do not run.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python reports a closed output itself
        sys.exit(code)
    if code:
        sys.exit(code)
    os._exit(code)
