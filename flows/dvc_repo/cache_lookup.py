"""Looks up results in DVC's cache and remote for a plan, by the hashes that a stage's inputs will have."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dependency import ParamsDependency
from dvc.dependency.param import MissingParamsError, read_param_file
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile.build import build
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.dvc_repo.change_detection import (
    HASH,
    can_be_cached,
    output_contents,
    output_hashes,
    parameters_text,
    path_of,
    run_key,
    temporary_hashes,
    value_of,
)
from flows.dvc_repo.dvc_errors import converted_errors
from flows.dvc_repo.lock.contents import Contents, hashes_of
from flows.dvc_repo.remote.availability import Availability
from flows.dvc_repo.remote.layouts import cache_of, entry_content
from flows.dvc_repo.remote.results import is_complete_entry, run_cache_folder
from flows.engine.planning.stage_facts import Hashes, is_executable
from flows.engine.processes.files_in_use import overlap

if TYPE_CHECKING:  # for the same reason as `load_policies` below
    from flows.engine.environment.stage_environment import StageEnvironment


@dataclass(frozen=True)
class OtherResult:
    """A result that the run cache has for the recorded inputs of a stage, beside the one that dvc.lock names."""

    entry: Path  # in the run cache
    outputs: Contents

    def make_newest(self) -> None:
        """Make the entry the newest one for its inputs: DVC restores the newest, even an incomplete one.

        Raises:
            OSError: the run cache is read-only.
        """
        others = [file.stat().st_mtime for file in self.entry.parent.iterdir() if file != self.entry]
        if others and max(others) >= self.entry.stat().st_mtime:
            mtime = max(time.time(), max(others) + 1)
            os.utime(self.entry, (mtime, mtime))


class CacheLookup:
    """Looks up results in DVC's local cache; with `pull`, also in the remote."""

    def __init__(
        self,
        repo: Repo,
        stages: Mapping[str, DvcStage],
        environment: "StageEnvironment | None" = None,
        *,
        pull: bool = False,
    ) -> None:
        self._pull = pull
        self._available = Availability(repo, pull=pull)
        self._environment = environment
        self._repo = repo
        self._stages = stages
        self._values: dict[str, dict[str, Any]] = {}  # of parameters in cached files, by their text

    @cached_property
    def _outs(self) -> dict[str, Any]:
        return {path_of(out): out for stage in self._stages.values() for out in stage.outs}

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Return the hash of each output that the cache has for `stage`, given the hashes of its dependencies.

        Returns:
            Hashes by path; None if an output is not in the cache.
        """
        found = self.restorable_contents(stage, dependencies)
        return None if found is None else hashes_of(found)

    def restorable_contents(self, stage: str, dependencies: Hashes) -> Contents | None:
        """Return what `restorable` does, with the name of each hash."""
        dvc_stage = self._stages[stage]
        recorded = output_contents(dvc_stage)
        if dvc_stage.cmd is None or dvc_stage.frozen:
            missing = [out for out in dvc_stage.outs if not out.exists]
            return recorded if all(map(self._is_tracked_available, missing)) else None
        with converted_errors(self._repo.root_dir), temporary_hashes(dvc_stage):
            before = [dep.hash_info for dep in dvc_stage.deps]
            try:
                for dep in dvc_stage.deps:
                    self._set_hash(dep, dependencies)
            except DvcException:
                return None
            is_same = before == [dep.hash_info for dep in dvc_stage.deps] and not dvc_stage.changed_stage()
            is_recorded = is_same and all(recorded.values())
            if not can_be_cached(dvc_stage) and not (self._pull and is_recorded and _are_cached(dvc_stage)):
                return None
            outputs = recorded if is_recorded else self.entry_outputs(dvc_stage)
            if outputs and self.allows(dvc_stage, hashes_of(outputs)) and self._are_available(dvc_stage, outputs):
                return outputs
            other = self.other_result(dvc_stage) if is_recorded else None
            return other.outputs if other else None

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Return the hash that `path` will have once `outputs` are in the workspace; None if it is unknown."""
        if path in outputs:
            return outputs[path]
        files = dict(self._files(outputs))
        if path in files:
            return files[path]
        inside = {name: value for name, value in files.items() if overlap(name, path)}
        return self._folder_hash(path, inside, outputs) if inside else None

    def parameters(self, path: str, content: str, names: Sequence[str]) -> str | None:
        """Return the parameters `names` (all when empty) in the version of the file `path` with the hash `content`.

        Returns:
            Their text; None if the local cache does not have the file, or it cannot be read.
        """
        info = self._info(path, content)
        cached = Path(cache_of(self._repo, info).oid_to_path(content))
        with tempfile.TemporaryDirectory() as folder, suppress(OSError, DvcException):
            copy = Path(folder) / Path(path).name  # its suffix is its format
            shutil.copyfile(cached, copy)
            values = read_param_file(self._repo.fs, str(copy), list(names), flatten=True)
            text = parameters_text(values)
            self._values[text] = values
            return text
        return None

    def newest_entry(self, stage: DvcStage) -> Path | None:
        """Return the newest run-cache entry for the stage's present hashes, which is the one that DVC restores.

        Returns:
            The entry's file; None if there is no entry, or if a killed process left the newest one incomplete:
            DVC would read it as it is.
        """
        newest = next(iter(self._entries(stage)), None)
        return newest if newest and is_complete_entry(newest) else None

    def entry_outputs(self, stage: DvcStage) -> Contents | None:
        """Return the outputs that the run cache has for the stage's present hashes; None if there is no entry."""
        entry = self.newest_entry(stage)
        return _outputs(stage, entry) if entry else None

    def other_result(self, stage: DvcStage) -> "OtherResult | None":
        """Return the newest complete result in the run cache for `stage`, which has its recorded inputs.

        It is for a stage whose recorded outputs are in no cache, since another machine may have made them, or were made
        in an environment that execution.yaml does not allow.

        Returns:
            None if there is no such result, if execution.yaml has `other_results: run`, or if the workspace still has
            the recorded outputs, which another result would overwrite.
        """
        is_allowed = self.allows(stage, output_hashes(stage))
        if not can_be_cached(stage) or (is_allowed and not any(out.workspace_status() for out in stage.outs)):
            return None
        for entry in filter(is_complete_entry, self._entries(stage)):
            outputs = _outputs(stage, entry)
            if self.allows(stage, hashes_of(outputs), is_known=not is_allowed) and self._are_available(stage, outputs):
                return OtherResult(entry, outputs) if self._restores_other_results() else None
        return None

    def allows(self, stage: DvcStage, outputs: Hashes, *, is_known: bool = False) -> bool:
        """Return True unless `outputs` of `stage` were made in an environment in which execution.yaml runs it again."""
        return not self._environment or self._environment.allows(stage.addressing, outputs, is_known=is_known)

    def _restores_other_results(self) -> bool:
        from flows.engine.policy import load_policies  # late: it imports pydantic, which a run without changes saves

        return load_policies(Path(self._repo.root_dir)).other_results == "restore"

    def _entries(self, stage: DvcStage) -> list[Path]:
        """Files of the run-cache entries for the stage's present hashes, the newest first."""
        folder = run_cache_folder(self._repo, run_key(stage))
        entries = folder.iterdir() if folder.is_dir() else ()
        return sorted(entries, key=lambda file: file.stat().st_mtime, reverse=True)

    def _files(self, outputs: Hashes) -> Iterator[tuple[str, str]]:
        """Path and hash of each file in `outputs`, those in folders included."""
        for path, value in outputs.items():
            if not value.endswith(".dir"):
                yield path, value
                continue
            try:
                files = list(self._available.folder_files(self._info(path, value), self._remote_name(path)))
            except (FileNotFoundError, ObjectFormatError) as error:  # a folder that is not recorded yet
                folder = self._build(path)
                if value_of(folder.hash_info) != value:
                    raise FileNotFoundError(path) from error
                files = list(folder)
            for key, _, hash_info in files:
                yield "/".join([path, *key]), value_of(hash_info)

    def _build(self, path: str) -> Any:
        """The tree of the folder `path` in the workspace; an empty one if there is no such folder."""
        folder = Path(self._repo.root_dir) / path
        if not folder.is_dir():
            return Tree()  # type: ignore[no-untyped-call]
        cache, ignore = self._repo.cache.local, self._repo.dvcignore
        return build(cache, str(folder), self._repo.fs, HASH, ignore=ignore, dry_run=True)[2]

    def _folder_hash(self, path: str, files: Hashes, outputs: Hashes) -> str | None:
        """Hash of the folder `path` in the workspace, if `files` replaced those that belong to `outputs`."""
        tree: Any = Tree()  # type: ignore[no-untyped-call]
        for key, meta, hash_info in self._build(path):
            if not any(overlap("/".join([path, *key]), output) for output in outputs):
                tree.add(key, meta, hash_info)
        for name, value in files.items():
            tree.add(Path(name).relative_to(path).parts, None, HashInfo(HASH, value))
        tree.digest()
        return value_of(tree.hash_info)

    def _info(self, path: str, value: str) -> HashInfo:
        """The hash `value` of the output `path`, with the name that dvc.lock has for it."""
        out = self._outs.get(path)
        if out is None or value_of(out.hash_info) != value:
            return HashInfo(HASH, value)
        info: HashInfo = out.hash_info
        return info

    def _are_available(self, stage: DvcStage, outputs: Contents) -> bool:
        remotes = {path_of(out): out.remote for out in stage.outs}
        return all(self._available.has(content.info, remotes[path]) for path, content in outputs.items())

    def _is_tracked_available(self, out: Any) -> bool:
        """True when an output of a stage that never runs can be restored, or, with `pull`, DVC can fetch it."""
        if not out.hash_info:
            return False
        if out.stage.is_repo_import:
            return self._pull or not out.changed_cache()
        return self._available.has(out.hash_info, out.remote)

    def _remote_name(self, path: str) -> str | None:
        """The remote of the output `path`; None: the default one."""
        return self._outs[path].remote if path in self._outs else None

    def _set_hash(self, dep: Any, dependencies: Hashes) -> None:
        """Give `dep` the content in `dependencies`, or else its present content."""
        if isinstance(dep, ParamsDependency):
            values = self._values.get(dependencies.get(f"{path_of(dep)}:{','.join(dep.params)}", ""))
            if values is None:
                dep.save()
            elif any(name not in values for name in dep.params):
                raise MissingParamsError(path_of(dep))
            else:
                dep.hash_info = HashInfo(dep.PARAM_PARAMS, values)  # type: ignore[arg-type]  # as in DVC's own code
        elif dep.fs_path and path_of(dep) in dependencies:
            value = dependencies[path_of(dep)]
            dep.meta = Meta(isexec=is_executable(value))  # without the rest, which contains a hash too
            if value != value_of(dep.hash_info):  # else it keeps the name of the hash that dvc.lock has
                dep.hash_name, dep.hash_info = HASH, HashInfo(HASH, str(value))
        else:
            dep.save()


def _outputs(stage: DvcStage, entry: Path) -> Contents:
    """Content of each output in a run-cache entry of `stage`, by path."""
    paths = {out.def_path: path_of(out) for out in stage.outs}
    return {paths[out["path"]]: entry_content(out) for out in load_yaml(str(entry))["outs"]}


def _are_cached(stage: DvcStage) -> bool:
    """True if a pull brings all missing outputs of the stage."""
    return all(out.use_cache or out.exists for out in stage.outs)
