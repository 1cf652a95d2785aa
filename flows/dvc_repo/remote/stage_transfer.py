"""Transfers the inputs and the result of a stage that runs on another machine, through the DVC remote."""

import stat
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.config import Config, ConfigError
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

from flows.core.errors import CannotBeSent, DvcFailed
from flows.dvc_repo.change_detection import (
    HASH,
    can_be_cached,
    files_of,
    is_executable_file,
    is_local,
    path_of,
    run_key,
)
from flows.dvc_repo.dvc_config import write_local_config
from flows.dvc_repo.lock.contents import content_of
from flows.dvc_repo.remote.layouts import DVC_2_HASH
from flows.dvc_repo.remote.results import Remote, remote_digest, verify_downloads
from flows.engine.processes.files_in_use import overlap

EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


@dataclass(frozen=True)
class StageInputs:
    """Inputs of a stage at its start, with their run-cache key."""

    run_key: str
    inputs: Mapping[str, str]  # hashes of other stages' outputs, by path
    executables: Sequence[str]  # executable files among these outputs and in them: the bit is part of the key
    files: Sequence[str]  # which the worker gets from git


class StageTransfer:
    """The orchestrator's side: pushes the inputs of stages to the remote, and restores the results of workers."""

    def __init__(
        self,
        repo: Repo,
        graph: "nx.DiGraph[DvcStage]",
        locked: Callable[[], AbstractContextManager[None]],
        wait_s: float,
        stop_event: threading.Event,
    ) -> None:
        self._graph = graph
        self._by_name = {stage.addressing: stage for stage in graph}
        self._locked = locked
        self._remote = Remote(repo, wait_s, stop_event)
        self.remote_folders = self._remote.folders()
        self.remote_digest = remote_digest(repo)

    def ensure_possible(self, name: str) -> None:
        """Raise NoRemote or CannotBeSent if the result of stage `name` could not be transferred back."""
        self._remote.ensure_configured(name)
        stage = self._by_name[name]
        for out in [*stage.outs, *self._used_outputs(stage)]:
            if out.remote or not out.can_push:
                option = f"`remote: {out.remote}`" if out.remote else "`push: false`"
                raise CannotBeSent(
                    name, f"{path_of(out)} has {option} in dvc.yaml; remove `pool` from the stage's policy"
                )
        for out in self._used_outputs(stage):
            if out.hash_info and out.hash_info.name == DVC_2_HASH:  # the order has its value alone
                remedy = "`dvc cache migrate --dvc-files` records it as DVC 3 does"
                raise CannotBeSent(name, f"{path_of(out)} was recorded by DVC 2; {remedy}")
        is_stored = all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
        if not (can_be_cached(stage) and is_stored):
            raise CannotBeSent(
                name, "DVC keeps no run cache for it, which would transfer its result; remove `pool` from its policy"
            )

    def fetch(self, name: str, key: str) -> bool:
        """Pull the remote's result of stage `name` under `key` into the cache; False if there is none."""
        return self._remote.fetch_run(name, key)

    def inputs(self, name: str) -> StageInputs:
        """Return the inputs of stage `name`, which was begun."""
        with self._locked():
            stage = self._by_name[name]
            outputs = [out for upstream in self._graph.successors(stage) for out in upstream.outs]
            used = self._used_outputs(stage)
            inputs = {path_of(out): str(out.hash_info.value) for out in used if out.use_cache and out.hash_info}
            sent = [out for out in used if path_of(out) in inputs]
            executables = {path_of(item) for item in [*sent, *_read_from(stage, sent)] if is_executable_file(item)}
            files = [path_of(out) for out in used if not out.use_cache]
            for dep in stage.deps:
                if isinstance(dep, ParamsDependency):
                    files.append(path_of(dep))
                elif dep.fs_path and not any(overlap(dep.fs_path, out.fs_path) for out in outputs):
                    files += files_of(dep)
            definition = str(Path(stage.path).relative_to(stage.repo.root_dir))
            return StageInputs(run_key(stage), inputs, sorted(executables), sorted({definition, *files}))

    def _used_outputs(self, stage: DvcStage) -> list[Any]:
        """Outputs of other stages that the stage reads."""
        outputs = [out for upstream in self._graph.successors(stage) for out in upstream.outs]
        paths = [dep.fs_path for dep in stage.deps if dep.fs_path]  # not `ds://`
        return [out for out in outputs if any(overlap(path, out.fs_path) for path in paths)]

    def push_inputs(self, name: str, inputs: StageInputs) -> None:
        """Push the outputs of other stages that stage `name` reads to the remote."""
        self._remote.push(name, [HashInfo(HASH, value) for value in inputs.inputs.values()])

    def restore_result(self, name: str, inputs: StageInputs) -> None:
        """Restore a worker's result of stage `name`, which was begun, into the workspace.

        Raises:
            DvcFailed: the remote has no result for `inputs`.
        """
        if not self._remote.fetch_run(name, inputs.run_key):
            raise DvcFailed(
                f"{name}: the worker succeeded, but the DVC remote has no result of it; "
                "check that the worker uses the same remote"
            )
        with self._locked():
            stage = self._by_name[name]
            for out in stage.outs:
                out.hash_info = HashInfo()  # else DVC takes the recorded outputs for those of the present inputs
            stage.repo.stage_cache.restore(stage)


class WorkerProject:
    """The worker's side: a clone of the project, in which one stage runs."""

    def __init__(self, root: Path, wait_s: float, stop_event: threading.Event) -> None:
        self._repo = Repo(str(root))
        verify_downloads(self._repo)
        self._remote = Remote(self._repo, wait_s, stop_event)

    def checkout_inputs(self, stage: str, inputs: Mapping[str, str], executables: Sequence[str] | None = None) -> None:
        """Pull inputs of a stage, and check them out into the workspace.

        Args:
            stage: the stage.
            inputs: the hash of each output of another stage that it reads, by path.
            executables: the executable files among them; None for those that dvc.lock names.
        """
        self._remote.ensure_configured(stage)
        missing = dict(inputs)
        try:
            outs = [(out, missing.pop(path_of(out))) for out in self._repo.index.outs if path_of(out) in missing]
            self._remote.pull(stage, list(inputs.values()))
            recorded = [path_of(out) for out, _ in outs if content_of(out).is_executable]
            for out, value in outs:
                out.hash_info, out.obj, out.meta = HashInfo(HASH, value), None, Meta()
                out.checkout(force=True)
            self._set_modes(stage, [out for out, _ in outs], recorded if executables is None else executables)
        except DvcException as error:
            raise DvcFailed(f"{stage}: its inputs cannot be checked out: {error}") from error
        if missing:
            raise DvcFailed(f"{stage}: no stage of this commit's dvc.yaml has the output {', '.join(missing)}")

    def _set_modes(self, stage: str, outs: Sequence[Any], executables: Collection[str]) -> None:
        """Make the files `executables` among those of `outs` executable, and the other ones that `stage` reads not.

        An earlier order may have left a file with the same content and the other mode.
        """
        readers = [item for item in self._repo.index.stages if item.addressing == stage]
        read = [dep for reader in readers for dep in _read_from(reader, outs)]
        for item in filter(lambda item: is_local(item) and item.isfile(), [*outs, *read]):
            is_wanted = path_of(item) in executables
            if is_executable_file(item) != is_wanted:
                file = Path(item.fs_path)
                self._repo.cache.local.unprotect(str(file))  # else the mode is also that of the object in the cache
                mode = file.stat().st_mode
                file.chmod(mode | EXECUTABLE if is_wanted else mode & ~EXECUTABLE)

    def push_result(self, stage: str, key: str) -> None:
        """Push the result of `stage` under `key` to the remote."""
        self._remote.push_run(stage, key)

    def close(self) -> None:
        """Close DVC's databases."""
        self._repo.close()


def _read_from(stage: DvcStage, outs: Sequence[Any]) -> list[Any]:
    """Return the dependencies of `stage` that are one of `outs`, lie in one, or contain one."""
    files = [dep for dep in stage.deps if dep.fs_path and not isinstance(dep, ParamsDependency)]
    return [dep for dep in files if any(overlap(dep.fs_path, out.fs_path) for out in outs)]


def configure(root: Path, home: Path, remote_folders: Mapping[str, str]) -> None:
    """Configure DVC in the clone at `root`: the cache of the worker at `home`, and the remotes that are folders."""
    try:
        config = Config(str(root / ".dvc"), validate=False).load_one("local")
    except ConfigError:  # a power cut can leave a part of the file, of which nothing but this is needed
        (root / ".dvc" / "config.local").unlink(missing_ok=True)
        config = Config(str(root / ".dvc"), validate=False).load_one("local")
    config["cache"] = {"dir": str(home / "cache"), "type": "reflink,hardlink,copy"}
    config["core"]["site_cache_dir"] = str(home / "site")
    config["remote"] = {name: {"url": url} for name, url in remote_folders.items()}
    write_local_config(root, config)
