"""Entries that other processes write into dvc.lock during a run, as a second run in the folder or `dvc repro` does."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage
from dvc.stage.loader import StageLoader
from dvc.utils.serialize import loads_yaml

from flows.dvc_repo.lock.lockfile import entry_texts, lock_path

SLACK_NS = 2_000_000_000  # a file system may keep times by the second


@dataclass
class _File:
    """What is known of one dvc.lock: its state at the last look, and the number of times others have written it."""

    state: tuple[int, int, int] | None
    version: int
    entries: Mapping[str, str] | None = None  # of that version


class ForeignRecords:
    """Takes over the entries of other processes, which DVC's objects of an opened repository do not see.

    All methods are called with DVC's lock held.
    """

    def __init__(self) -> None:
        """Begins before the repository is loaded."""
        self._loaded_ns = time.time_ns() - SLACK_NS
        self._files: dict[Path, _File] = {}
        self._versions: dict[str, int] = {}  # by stage: the version of its dvc.lock that it has
        self._entries: dict[str, str] = {}  # by stage: its entry in that version

    def take_over(self, stage: DvcStage) -> bool:
        """Give `stage` the hashes that another process has recorded for it since the repository was opened.

        Returns:
            True if another process has written its entry since the last call.
        """
        if not isinstance(stage, PipelineStage):
            return False
        path = lock_path(stage)
        file = self._look(path)
        if file.version == self._versions.get(stage.addressing, 0):
            return False
        self._versions[stage.addressing] = file.version
        if file.entries is None:
            file.entries = entry_texts(path)
        text = file.entries.get(stage.name, "")
        if text in ("", self._entries.get(stage.addressing)):
            return False
        self._entries[stage.addressing] = text
        entry = loads_yaml(text)[stage.name]
        stage.cmd_changed = entry.get("cmd") != stage.cmd
        StageLoader.fill_from_lock(stage, entry)
        for item in [*stage.deps, *stage.outs]:
            item.obj = None
        return True

    @contextmanager
    def own_write(self, path: Path) -> Iterator[None]:
        """Write the dvc.lock at `path` in the block; what this process writes is not foreign."""
        file = self._look(path)
        yield
        file.state = _state(path)

    def _look(self, path: Path) -> _File:
        """Look whether another process has written the dvc.lock at `path`."""
        state = _state(path)
        file = self._files.get(path)
        if file is None:
            is_newer = state is not None and state[0] >= self._loaded_ns
            file = self._files[path] = _File(state, int(is_newer))
        elif file.state != state:
            file.state, file.version, file.entries = state, file.version + 1, None
        return file


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
