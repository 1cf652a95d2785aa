"""Restores the outputs of stages that need not run, from DVC's cache and, with `--pull`, from its remotes."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc_data.hashfile.hash_info import HashInfo

from flows.dvc_repo.cache_lookup import CacheLookup
from flows.dvc_repo.change_detection import (
    can_be_cached,
    output_contents,
    output_hashes,
    path_of,
    temporary_hashes,
    value_of,
)
from flows.dvc_repo.code.recording import Recording
from flows.dvc_repo.damaged_objects import set_damaged_output_aside
from flows.dvc_repo.lock.contents import Contents, hashes_of
from flows.dvc_repo.lock.lockfile import LockfileWriter
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.remote.results import Remote
from stages.base.errors import InkflowError

DVC_TEMPORARY = re.compile(r"\.[\w-]{22}\.tmp")  # a name that DVC gives a file which it moves into place


def interrupted_writes(stages: Iterable[DvcStage]) -> list[Path]:
    """Return the files with DVC's temporary names beside the outputs of `stages`."""
    outs = [out for stage in stages for out in stage.outs if out.protocol == "local"]
    folders = dict.fromkeys(Path(out.fs_path).parent for out in outs)
    return [path for folder in folders for path in folder.glob(".*.tmp") if DVC_TEMPORARY.fullmatch(path.name)]


def remove_interrupted_writes(stages: Iterable[DvcStage]) -> None:
    """Remove what a killed DVC left beside outputs, in folders that other stages may depend on; DVC's lock is held."""
    for path in interrupted_writes(stages):
        with suppress(OSError):  # a folder that cannot be written is reported when it matters
            path.unlink()


class Restoration:
    """Restores outputs under DVC's lock, which the caller holds. Damaged objects of the cache are set aside before."""

    def __init__(
        self,
        repo: Repo,
        cache: CacheLookup,
        lockfile: LockfileWriter,
        recording: Recording,
        lock: RepoLock,
        *,
        pull: bool = False,
    ) -> None:
        self._repo = repo
        self._cache = cache
        self._lockfile = lockfile
        self._recording = recording
        self._lock = lock
        self._pull = pull

    def restore(self, stage: DvcStage) -> bool:
        """Restore the outputs that belong to the present inputs of `stage`; False if no cache has them."""
        return (self._pull and self._pull_recorded(stage)) or self._restore_cached(stage)

    def _pull_recorded(self, stage: DvcStage) -> bool:
        """Pull the missing outputs of a stage that is otherwise unchanged, as `dvc repro --pull`; False if that fails.

        It needs no run cache, which DVC does not keep for stages without dependencies or with `persist`.
        """
        if stage.changed_stage() or stage.changed_deps() or stage.changed_outs(allow_missing=True):
            return False
        if not self._cache.allows(stage, output_hashes(stage)):
            return False
        cached = {out: out.hash_info for out in stage.outs if out.use_cache}
        if not all(out in cached or out.exists for out in stage.outs) or not self._fetch(stage, cached):
            return False
        for out in cached:
            out.checkout()
        self._recording.restored(stage)
        return True

    def _restore_cached(self, stage: DvcStage) -> bool:
        with temporary_hashes(stage) as keep:
            if stage.changed_stage() or not stage.deps_cached():
                stage.save_deps()
                for out in stage.outs:
                    out.hash_info = HashInfo()  # else DVC takes the recorded outputs for those of the new inputs
            recorded = output_contents(stage)
            is_recorded = all(recorded.values())
            values = recorded if is_recorded else self._cache.entry_outputs(stage)
            if values is None:
                return False
            is_restored = self._cache.allows(stage, hashes_of(values)) and self._bring_into_cache(stage, values)
            if not is_restored and not (is_recorded and self._choose_other_result(stage)):
                return False
            with self._lockfile.ordered_gitignore(stage):
                stage.run()
            keep()  # only now: if a file is in use, an error ends the block, and it runs again
            self._recording.restored(stage)
            self._lockfile.add(stage)
            return True

    def _bring_into_cache(self, stage: DvcStage, values: Contents) -> bool:
        """Return True once the cache has the outputs with the hashes `values`; False if they cannot be restored."""
        for out in stage.outs:
            set_damaged_output_aside(out, [value_of(values[path_of(out)].info)], self._lock.log)
        try:
            self._repo.stage_cache.restore(stage, dry=True)
        except RunCacheNotFoundError:
            if not (self._pull and can_be_cached(stage)):
                return False
            return self._fetch(stage, {out: values[path_of(out)].info for out in stage.outs})
        except DvcException:  # a missing dependency, which `begin` reports
            return False
        return True

    def _choose_other_result(self, stage: DvcStage) -> bool:
        """Make DVC restore another result for the recorded inputs, whose recorded outputs cannot be restored.

        Returns:
            False if there is none, or it cannot be restored.
        """
        try:
            other = self._cache.other_result(stage)
            if other is None:
                return False
            other.make_newest()
        except (OSError, InkflowError):  # a read-only cache, or a remote that fails: the stage can still run
            return False
        for out in stage.outs:
            out.hash_info = HashInfo()  # else DVC looks for the recorded outputs alone
        return self._bring_into_cache(stage, other.outputs)

    def _fetch(self, stage: DvcStage, values: Mapping[Any, HashInfo]) -> bool:
        """Fetch the objects of outputs into the cache, each from its remote; False if one is unknown, or cannot be."""
        if not all(values.values()):
            return False
        remote = Remote(self._repo, 0.0, self._lock.stop_event)
        for out, value in values.items():
            set_damaged_output_aside(out, [value_of(value)], self._lock.log)
        try:
            return all(remote.fetch(stage.addressing, [value], out.remote) for out, value in values.items())
        except InkflowError:
            return False
