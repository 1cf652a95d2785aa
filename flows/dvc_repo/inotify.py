"""A watch for other processes that open a file. It uses Linux's inotify, for which Python has no module."""

import ctypes
import os
from pathlib import Path

IN_OPEN = 0x20  # of <sys/inotify.h>


class FileOpenWatch:
    """Watches one file. Without inotify (macOS), or if no instance is left, the watch reports no opens."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None)
        has_inotify = hasattr(libc, "inotify_init1")
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if has_inotify else -1
        if self._descriptor >= 0:
            libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_OPEN)

    def was_opened(self) -> bool:
        """True when a process, this one included, opened the file since the last call."""
        try:
            return bool(os.read(self._descriptor, 65536))
        except OSError:  # no event
            return False

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
