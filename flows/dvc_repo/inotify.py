"""Whether anybody else opens a file: Linux tells by inotify, for which Python has no module of its own."""

import ctypes
import os
from pathlib import Path

IN_OPEN = 0x20  # of <sys/inotify.h>


class FileOpenWatch:
    """Counts on one file; where the system has no inotify left to give, nobody is seen."""

    def __init__(self, path: Path) -> None:
        system = ctypes.CDLL(None)
        self._descriptor = system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            system.inotify_add_watch(self._descriptor, os.fsencode(path), IN_OPEN)

    def any(self) -> bool:
        """True when somebody, this process too, opened the file since this was asked last."""
        try:
            return bool(os.read(self._descriptor, 65536))
        except OSError:  # nothing to read
            return False

    def close(self) -> None:
        """Look no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
