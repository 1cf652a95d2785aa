"""Watches for files that are opened or written. They use Linux's inotify, for which Python has no module."""

import ctypes
import os
import struct
from pathlib import Path

IN_OPEN, IN_CLOSE_WRITE, IN_MOVED_TO = 0x20, 0x8, 0x80  # of <sys/inotify.h>
HEADER = struct.Struct("iIII")  # of an event: watch, mask, cookie, length of the name


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


class WriteWatch:
    """Watches folders for files that are written or moved into them. Without inotify it reports none."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        has_inotify = hasattr(libc, "inotify_init1")
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if has_inotify else -1
        self._add = libc.inotify_add_watch if self.descriptor >= 0 else None

    def add(self, folder: Path) -> None:
        """Watches one more folder."""
        if self._add is not None:
            self._add(self.descriptor, os.fsencode(folder), IN_CLOSE_WRITE | IN_MOVED_TO)

    def names(self) -> set[str]:
        """Returns the names of the files that were written since the last call."""
        names, offset = set(), 0
        try:
            events = os.read(self.descriptor, 65536)
        except OSError:  # no event
            return set()
        while offset < len(events):
            *_, length = HEADER.unpack_from(events, offset)
            start = offset + HEADER.size
            names.add(os.fsdecode(events[start : start + length].rstrip(b"\0")))
            offset = start + length
        return names

    def close(self) -> None:
        """Stops watching."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
