"""The files of running stages in DVC's list of files in use, `.dvc/tmp/rwlock`, as `dvc repro` puts them there.

`dvc` in another terminal, and another run in this folder, so see which files a stage reads and writes while its command
runs. An entry names this process: DVC ignores and removes the entries of processes that no longer live.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLockFileCorruptedError, rwlock
from dvc.stage import Stage as DvcStage

from flows.dvc_repo.lock.lockfile import repair_rwlock
from flows.dvc_repo.locking import RepositoryBusy
from flows.engine.processes.files_in_use import find_foreign_use


class FileClaims:
    """The claims of one repository. DVC's lock is held when a method is called; not always for `release`."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._path = Path(repo.tmp_dir) / RWLOCK_FILE
        self._held: dict[str, ExitStack] = {}

    def ensure_not_written(self, stage: DvcStage) -> None:
        """Ensure that no other process writes an input or output of `stage`, as one that runs the stage does.

        Raises:
            RepositoryBusy: a process does.
        """
        reads, writes = _paths(stage)
        self._ensure_free([*([] if stage.frozen else reads), *writes], "write", "written")

    def ensure_unused(self, stage: DvcStage) -> None:
        """Ensure that no other process uses the outputs of `stage` or writes its inputs.

        Raises:
            RepositoryBusy: a process does.
        """
        reads, writes = _paths(stage)
        self._ensure_free([*reads, *writes], "write", "written")
        self._ensure_free(writes, "read", "read")

    def claim(self, stage: DvcStage) -> None:
        """List the files of `stage` as in use until `release`.

        What is written has the command as DVC's own functions call it, so that they accept it in this process. What is
        read has a name for each stage: two stages that read a file end at different times.

        Raises:
            LockError: another process uses its outputs or writes its inputs.
        """
        reads, writes = _paths(stage)
        command = " ".join(sys.argv)
        with ExitStack() as claim:
            self._list(claim, command, [], writes)
            self._list(claim, f"{command} ({stage.addressing})", reads, [])
            self._held[stage.addressing] = claim.pop_all()

    def release(self, stage: DvcStage) -> None:
        """End the claim of `stage`, if there is one."""
        claim = self._held.pop(stage.addressing, None)
        if claim is not None:
            with suppress(DvcException, AssertionError, KeyError):  # a person has removed the list, as DVC advises
                claim.close()

    def _list(self, claim: ExitStack, command: str, reads: Sequence[str], writes: Sequence[str]) -> None:
        """List files as in use until `claim` closes, after a repair if need be.

        Another run may have been killed while it wrote the list, or its entries count for DVC, since another process
        has its id.
        """
        try:
            claim.enter_context(self._listed(command, reads, writes))
        except (LockError, RWLockFileCorruptedError):
            repair_rwlock(self._repo)
            claim.enter_context(self._listed(command, reads, writes))

    def _listed(self, command: str, reads: Sequence[str], writes: Sequence[str]) -> AbstractContextManager[None]:
        hardlink = self._repo.config["core"].get("hardlink_lock", False)
        listed: AbstractContextManager[None] = rwlock(
            self._repo.tmp_dir, self._repo.fs, command, reads, writes, hardlink
        )
        return listed

    def _ensure_free(self, paths: Sequence[str], kind: str, done: str) -> None:
        """Ensure that no other process has listed one of `paths` with this kind of use; changes nothing."""
        if use := find_foreign_use(self._path, kind, paths):
            name = os.path.relpath(use.path, self._repo.root_dir)
            raise RepositoryBusy(f"{name} is being {done} by another process ({use.command}, process id {use.pid})")


def _paths(stage: DvcStage) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that the command of `stage` reads and writes."""
    reads, writes = ([entry.fs_path for entry in entries if entry.fs_path] for entries in (stage.deps, stage.outs))
    return list(dict.fromkeys(reads)), writes
