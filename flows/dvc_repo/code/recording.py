"""Records stages whose code has changed in comments alone: in dvc.lock and in the run cache, without a run."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc.utils.serialize import dumps_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from flows.dvc_repo.cache_lookup import CacheLookup
from flows.dvc_repo.change_detection import (
    HASH,
    can_be_cached,
    output_hashes,
    path_of,
    run_key,
    temporary_hashes,
)
from flows.dvc_repo.code.old_content import OldContent
from flows.dvc_repo.lock.lockfile import LockfileWriter
from flows.dvc_repo.remote.layouts import entry_output
from flows.dvc_repo.remote.results import remove_damaged_entries, run_cache_folder, store_entry
from flows.engine.environment.records import LOCK as ENVIRONMENT_LOCK
from flows.engine.planning.stage_facts import CosmeticChange, is_executable
from stages.base.errors import InkflowError

if TYPE_CHECKING:  # it imports pydantic, which a run without changes saves
    from flows.engine.environment.stage_environment import StageEnvironment
    from flows.engine.policy import Policies

SIZES = ["size", "nfiles"]  # of an entry, which are no part of its name


def stage_environment(repo: Repo, policies: "Policies | None", names: Collection[str]) -> "StageEnvironment | None":
    """Return what compares and records the environment of the stages `names`; None if execution.yaml names none.

    Raises:
        PolicyInvalid: a package that execution.yaml names does not exist.
    """
    if policies is None or not policies.names_environment:
        return None
    from flows.engine.environment.stage_environment import StageEnvironment  # late: few projects name one

    folder = Path(repo.stage_cache.cache_dir).parent
    make_folder = repo.cache.legacy.makedirs  # writable by the group with `cache.shared = group`
    environment = StageEnvironment(Path(repo.root_dir), folder, policies.environment_of, make_folder)
    environment.check(names)
    return environment


class Recording:
    """Writes records of stages under DVC's lock, which the caller holds."""

    def __init__(
        self,
        repo: Repo,
        cache: CacheLookup,
        lockfile: LockfileWriter,
        old: OldContent,
        environment: "StageEnvironment | None",
    ) -> None:
        self._repo = repo
        self._cache = cache
        self._lockfile = lockfile
        self._old = old
        self._environment = environment

    def save_run(self, stage: DvcStage) -> None:
        """Add the stage, with its present hashes, to the run cache."""
        if all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs):
            if can_be_cached(stage):
                remove_damaged_entries(run_cache_folder(self._repo, run_key(stage)))
            self._repo.stage_cache.save(stage)

    def finished(self, stage: DvcStage) -> None:
        """Record a stage that has run: in the run cache and dvc.lock; its code is kept for later comparisons.

        Its environment comes first: after a kill, the next run takes a stage in the run cache or dvc.lock as done.
        """
        if self._environment is not None and self._environment.record(stage.addressing, output_hashes(stage)):
            self._repo.scm_context.track_file(ENVIRONMENT_LOCK)
        self.save_run(stage)
        stage.commit()
        self._add_to_lock(stage)

    def restored(self, stage: DvcStage) -> None:
        """Record the environment of a stage whose outputs were restored, before dvc.lock has it, and keep its code."""
        if self._environment is not None and self._environment.restore(stage.addressing, output_hashes(stage)):
            self._repo.scm_context.track_file(ENVIRONMENT_LOCK)
        self._keep_code(stage)

    def _add_to_lock(self, stage: DvcStage) -> None:
        self._lockfile.add(stage)
        self._keep_code(stage)

    def _keep_code(self, stage: DvcStage) -> None:
        for dep in stage.deps:
            self._old.keep(dep)

    def record_unchanged(self, stage: DvcStage, changes: Sequence[CosmeticChange]) -> bool:
        """Record the present hashes of the code of a stage whose outputs are as recorded.

        Returns:
            False if an input has changed once more meanwhile; nothing is recorded then.
        """
        with temporary_hashes(stage) as keep:
            expected = _hashes(stage) | {change.path: change.present for change in changes}
            stage.save_deps()
            if _hashes(stage) != expected:
                return False
            self.save_run(stage)
            keep()
        self._add_to_lock(stage)
        return True

    def run_key(self, stage: DvcStage, changes: Sequence[CosmeticChange] = ()) -> str:
        """Return the run-cache key of `stage`, with the recorded hashes of files with `changes` in comments."""
        recorded = {change.path: change.recorded for change in changes}
        with temporary_hashes(stage):
            stage.save_deps()
            for dep in _files(stage):
                if value := recorded.get(path_of(dep)):
                    dep.hash_info, dep.meta = HashInfo(HASH, str(value)), Meta(isexec=is_executable(value))
            return run_key(stage)

    def run_keys(self, stage: DvcStage, changes: Sequence[CosmeticChange]) -> list[str]:
        """Return the run-cache key of `stage`, and with `changes` also that of the code with the recorded comments."""
        return [self.run_key(stage), *([self.run_key(stage, changes)] if changes else [])]

    def add_run_cache_entry(self, stage: DvcStage, changes: Sequence[CosmeticChange]) -> None:
        """Add an entry for the present code to the run cache, of the result of the code with other comments.

        It is the result that a plan names: of several ones that which dvc.lock has, or the one that policies allow.
        """
        if not can_be_cached(stage):
            return
        recorded = {change.path: change.recorded for change in changes}
        with suppress(InkflowError):  # a remote that fails: the stage can run
            if self._cache.restorable_contents(stage.addressing, {}) is not None:
                return
            found = self._cache.restorable_contents(stage.addressing, recorded)
            if found is None:
                return
            with temporary_hashes(stage):
                stage.save_deps()
                key, entry = run_key(stage), to_single_stage_lockfile(stage)
            outs = sorted(stage.outs, key=lambda out: str(out.def_path))
            entry["outs"] = [entry_output(str(out.def_path), found[path_of(out)]) for out in outs]
            digest = dict_sha256(entry, exclude=SIZES)
            with suppress(OSError):  # a full disk: the stage can run
                store_entry(self._repo, f"{key[:2]}/{key}/{digest}", dumps_yaml(entry).encode())


def _hashes(stage: DvcStage) -> dict[str, Any]:
    """Return the hash of each file, and the values of the parameters of each file."""
    names = [path_of(dep) if dep in _files(stage) else f"{dep}:" for dep in stage.deps]
    infos = [getattr(dep, "hash_info", None) for dep in stage.deps]
    return {name: info.value if info else None for name, info in zip(names, infos, strict=True)}


def _files(stage: DvcStage) -> list[Any]:
    files = [dep for dep in stage.deps if dep.fs_path and not isinstance(dep, ParamsDependency)]
    return [dep for dep in files if isinstance(getattr(dep, "hash_info", None), HashInfo)]
