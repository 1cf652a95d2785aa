"""Watches the parameters of running stages: a value that is changed and changed back is noticed too.

The file of the parameters may be edited while stages run, as long as their own values stay. So its values are read each
time that it is written, by a thread, and compared with those of the stages' starts. Without inotify (macOS) only the
values at the end of a stage are compared.
"""

import os
import select
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException

from flows.core.signals import join
from flows.core.values import is_same_value
from flows.dvc_repo.inotify import WriteWatch
from flows.dvc_repo.input_snapshot import name_of_parameter

Values = tuple[ParamsDependency, dict[str, Any]]
CONFIRM_S = 0.05  # between two readings of another value: an editor empties a file before it writes it


class ParamsWatch:
    """The parameters of the running stages of one repository, and which of them had another value meanwhile."""

    def __init__(self) -> None:
        self._values: dict[str, list[Values]] = {}
        self._changed: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._watch: WriteWatch | None = None
        self._folders: set[Path] = set()
        self._end = (-1, -1)  # a pipe that is closed to end the thread
        self._thread: threading.Thread | None = None

    def add(self, name: str, files: Sequence[ParamsDependency]) -> None:
        """Watches the parameters of stage `name`, whose present values `files` hold."""
        if not files:
            return
        with self._lock:
            self._values[name] = [(dep, dict(dep.hash_info.value or {})) for dep in files]
            self._changed[name] = set()
            if self._watch is None:
                self._watch, self._end = WriteWatch(), os.pipe()
                if self._watch.descriptor >= 0:
                    self._thread = threading.Thread(target=self._follow, name="parameters", daemon=True)
                    self._thread.start()
            for folder in {Path(dep.fs_path).parent for dep in files} - self._folders:
                self._watch.add(folder)
                self._folders.add(folder)
            self._compare({Path(dep.fs_path).name for dep in files})  # written between the snapshot and the watch

    def changed(self, name: str) -> list[str]:
        """Returns the parameters of stage `name` that had another value since it was added."""
        if self._watch is not None:
            self._compare_written()
        return sorted(self._changed.get(name, ()))

    def remove(self, name: str) -> None:
        """Watches the parameters of stage `name` no more."""
        with self._lock:
            self._values.pop(name, None)
            self._changed.pop(name, None)

    def close(self) -> None:
        """Ends the watch."""
        if self._watch is None:
            return
        os.close(self._end[1])
        if self._thread is not None:
            join(self._thread)
        os.close(self._end[0])
        self._watch.close()
        self._watch = None

    def _follow(self) -> None:
        assert self._watch is not None
        poll = select.poll()  # select.select() supports only the first 1024 file descriptors
        for descriptor in (self._watch.descriptor, self._end[0]):
            poll.register(descriptor, select.POLLIN)
        while self._end[0] not in [descriptor for descriptor, _ in poll.poll()]:
            self._compare_written()

    def _compare_written(self) -> None:
        assert self._watch is not None
        with self._lock:  # before the names are read: `changed` waits until all values read so far are compared
            self._compare(self._watch.names())

    def _compare(self, files: set[str]) -> None:
        """Compares the values in the files of these names with those of the stages' starts.

        Only what a second reading confirms counts.
        """
        found = {name: keys for name in self._values if (keys := self._different(name, files))}
        if found:
            time.sleep(CONFIRM_S)
        for name, keys in found.items():
            self._changed[name] |= keys & self._different(name, files)

    def _different(self, stage: str, files: set[str]) -> set[str]:
        """Returns the parameters of a stage that have another value now; none of a file that is missing or empty."""
        found: set[str] = set()
        for dep, before in self._values[stage]:
            if Path(dep.fs_path).name in files:
                with suppress(DvcException, OSError, ValueError):  # half a file, which no stage can read either
                    now = dep.read_params()
                    keys = [*before, *(now if not dep.params else ())] if now else []
                    other = [key for key in keys if not is_same_value(before.get(key), now.get(key))]
                    found |= {name_of_parameter(dep, key) for key in other}
        return found
