"""Everything that can go wrong in a way a person can mend, as one tree of exceptions.

    InkflowError                 1   the work failed
    ├── InvalidInput             2   what was given cannot be used: mend it, then run again
    │   ├── ParamsError              params.yaml
    │   ├── DataError                a data set or an image
    │   ├── ModelError               a model file
    │   └── DeviceMissing            a GPU is asked for where none can be used
    ├── SourceUnavailable       69   nothing to mend here: it may pass by itself (EX_UNAVAILABLE of sysexits.h)
    └── OutputError              1   a file cannot be written

Each message is one sentence: what, what was got, what was expected, what to do.
The number is the exit code of a program that ends with the error.
"""

import errno
import sys
from collections.abc import Callable, Sequence

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_UNAVAILABLE = 69
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class InkflowError(Exception):
    """The work failed for a reason that the message tells in one sentence."""

    exit_code = EXIT_FAILED


class InvalidInput(InkflowError):
    """What was given cannot be used; running again without a change is useless."""

    exit_code = EXIT_INVALID


class ParamsError(InvalidInput):
    """params.yaml has mistakes: one sentence each, in `mistakes`."""

    def __init__(self, path: str, mistakes: Sequence[str]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{path}: {mistake}" for mistake in mistakes))


class DataError(InvalidInput):
    """A data set or an image is not what it should be."""


class ModelError(InvalidInput):
    """A model file cannot be read or does not fit the data."""


class DeviceMissing(InvalidInput):
    """A GPU is asked for, and none can be used here."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"`device: gpu` is asked for, and no GPU can be used: {reason}; or choose `device: auto`")


class SourceUnavailable(InkflowError):
    """Nothing reachable holds the data; trying later may help."""

    exit_code = EXIT_UNAVAILABLE


_SPACE = "free space there, then run again"
_PERMISSION = "mend the folder's permissions or name another place, then run again"
REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), then run again",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOENT: "name another path",
    errno.EROFS: "name a place that is not read-only",
    errno.EISDIR: "it is a folder: name a file in it",
    errno.ENOTDIR: "a part of its path is a file: name another path",
    errno.EEXIST: "a part of its path is a file: name another path",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class OutputError(InkflowError):
    """A file cannot be written; what stood there before is untouched."""

    def __init__(self, path: object, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(
            f"cannot write {path}: {reason}; {REMEDIES.get(error.errno or 0, 'see to it, then run again')}"
        )


def exit_with(main: Callable[[], int]) -> int:
    """Exit code of `main`, with our errors said on standard error instead of raised."""
    try:
        return main()
    except InkflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
