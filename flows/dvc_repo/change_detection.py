"""Facts about stages, read from DVC's objects: what changed, what is recorded, and how DVC identifies it."""

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import networkx as nx
from dvc.dependency import ParamsDependency
from dvc.stage import Stage as DvcStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree

from flows.core.notices import note_once
from flows.dvc_repo.dvc_errors import unusable_parameter
from flows.dvc_repo.lock.contents import Contents, content_of, hashes_of
from flows.dvc_repo.special_files import check_files
from flows.engine.planning.change_messages import (
    ABSENT,
    COSMETIC,
    NEVER_RUN,
    Change,
    abbreviate,
    abbreviate_parameters,
    count_by_state,
    name_some,
    value_changes,
)
from flows.engine.planning.stage_facts import CosmeticChange, Dependency, Facts, FileHash, Hashes
from flows.engine.processes.files_in_use import overlap
from flows.engine.types import Stage

HASH = "md5"
UPDATE_AVAILABLE = "update available"  # DVC's state of an import that is not frozen: a newer commit or version exists
CosmeticFinder = Callable[[DvcStage, Sequence[Any]], dict[Any, CosmeticChange]]
SavedHashes = Sequence[tuple[Any, ...]]  # as `get_hashes` returns them


def active_graph(graph: "nx.DiGraph[DvcStage]") -> "nx.DiGraph[DvcStage]":
    """Return `graph` without the edges from frozen stages to their dependencies, which DVC ignores."""
    active = graph.copy()
    active.remove_edges_from([edge for edge in graph.out_edges if edge[0].frozen])
    return active


class StageInspector:
    """Compares the stages of a graph with their records in dvc.lock."""

    def __init__(self, graph: "nx.DiGraph[DvcStage]", cosmetic: CosmeticFinder) -> None:
        self._graph = graph
        self._cosmetic = cosmetic

    def facts(self, dvc_stage: DvcStage, stage: Stage) -> Facts:
        """Return the facts of `dvc_stage`, which the engine knows as `stage`.

        Raises:
            SpecialFile: a named pipe, a socket or a device is among its files.
            PipelineInvalid: a parameter has a value that DVC cannot record.
        """
        check_files(dvc_stage)
        producers = {} if dvc_stage.frozen else self._producers(dvc_stage)
        outputs = [Change(name, state) for out in dvc_stage.outs for name, state in out.status().items()]
        entries = [*dvc_stage.deps, *dvc_stage.outs]
        is_recorded = not entries or any(map(_is_recorded, entries))
        tracked = dvc_stage.cmd is None or dvc_stage.frozen
        states = _file_states(dvc_stage, producers) if is_recorded else {}
        edited = [dep for dep, state in states.items() if "modified" in state.values()]
        cosmetic = self._cosmetic(dvc_stage, edited) if edited and not tracked else {}
        own = tuple(_own_changes(dvc_stage, producers, states, cosmetic)) if is_recorded else (NEVER_RUN,)
        return Facts(
            stage=stage,
            own=own,
            dependencies=tuple(_dependency(dep, names) for dep, names in producers.items()),
            outputs=tuple(count_by_state(outputs, "outputs")) if is_recorded else (),
            recorded=recorded_hashes(dvc_stage),
            present=_present(dvc_stage) if tracked else {},
            uncached=tuple(path_of(out) for out in dvc_stage.outs if not out.use_cache),
            always=bool(dvc_stage.is_callback or dvc_stage.always_changed) and not dvc_stage.frozen,
            tracked=tracked,
            cosmetic=tuple(cosmetic.values()),
            renewed=_is_renewed(dvc_stage, own),
        )

    def _producers(self, dvc_stage: DvcStage) -> dict[Any, tuple[str, ...]]:
        """Dependencies that other stages produce, each with the names of those stages."""
        outputs = [(stage.addressing, out.fs_path) for stage in self._graph.successors(dvc_stage) for out in stage.outs]
        producers = {}
        for dep in filter(lambda dep: dep.fs_path, dvc_stage.deps):  # not `ds://` and databases
            names = dict.fromkeys(name for name, path in outputs if overlap(dep.fs_path, path))
            if names:
                producers[dep] = tuple(names)
        return producers


def _is_renewed(stage: DvcStage, own: Sequence[Change]) -> bool:
    """True for an import that DVC would bring from its source.

    It changed there, was never downloaded, or its copy here is missing or edited, and no cache here has it.
    """
    if not stage.is_import or stage.frozen:
        return bool(stage.is_partial_import)
    return bool(own) or any(out.workspace_status() and out.changed_cache() for out in stage.outs)


def recorded_hashes(stage: DvcStage) -> Hashes:
    """Return the recorded hash of each output, by path."""
    return {path: value for path, value in output_hashes(stage).items() if value}


def get_hashes(stage: DvcStage) -> SavedHashes:
    """Return the hash, metadata, object and name of the hash of each dependency and output, for `set_hashes`."""
    names = ("hash_info", "meta", "obj", "hash_name")  # a database has none of them
    return [tuple(getattr(entry, name, None) for name in names) for entry in [*stage.deps, *stage.outs]]


def set_hashes(stage: DvcStage, hashes: SavedHashes) -> None:
    """Set what `get_hashes` returned."""
    for entry, saved in zip([*stage.deps, *stage.outs], hashes, strict=True):
        entry.hash_info, entry.meta, entry.obj, entry.hash_name = saved  # a change here makes the name that of DVC 3


@contextmanager
def temporary_hashes(stage: DvcStage) -> Iterator[Callable[[], None]]:
    """Restore the stage's hashes at the end of the block, unless the block calls the function that it gets."""
    hashes, is_kept = get_hashes(stage), False

    def keep() -> None:
        nonlocal is_kept
        is_kept = True

    try:
        yield keep
    finally:
        if not is_kept:
            set_hashes(stage, hashes)


def run_key(stage: DvcStage) -> str:
    """Return the run-cache key for the stage's command and the present hashes of its dependencies.

    Raises:
        PipelineInvalid: a parameter has a value that DVC cannot record.
    """
    entry = to_single_stage_lockfile(stage)
    entry["outs"] = [out["path"] for out in entry.get("outs", [])]
    try:
        return str(dict_sha256(entry, exclude=["size", "nfiles"]))
    except TypeError as error:
        unusable = unusable_parameter(stage)
        if unusable is None:
            raise
        raise unusable from error


def can_be_cached(stage: DvcStage) -> bool:
    """True for a stage that DVC stores in its run cache."""
    if stage.is_callback or stage.always_changed or not (stage.cmd and stage.deps and stage.outs):
        return False
    local = all(entry.protocol == "local" and entry.def_path for entry in [*stage.deps, *stage.outs])
    return local and all(out.is_in_repo and not out.persist for out in stage.outs)


def is_local(entry: Any) -> bool:
    """True for a dependency or output that is a file or folder of this machine: no URL, no database, no `ds://`."""
    return bool(entry.fs_path and entry.protocol == "local")


def is_in_project(entry: Any) -> bool:
    """True for a file or folder below the project's folder; for DVC, a path on another machine can lie there too."""
    return is_local(entry) and bool(entry.is_in_repo)


def path_of(entry: Any) -> str:
    """Return the path of a dependency or output, relative to the project's folder; its URL if it is not `is_local`."""
    return os.path.relpath(entry.fs_path, entry.repo.root_dir) if is_local(entry) else str(entry)


def output_hashes(stage: DvcStage) -> Hashes:
    """Return the hash of each output by path; an output without one has an empty text."""
    return hashes_of(output_contents(stage))


def output_contents(stage: DvcStage) -> Contents:
    """Return the recorded content of each output by path."""
    return {path_of(out): content_of(out) for out in stage.outs}


def value_of(hash_info: HashInfo | None) -> str:
    """Return the hash as text; empty if there is none."""
    return str(hash_info.value) if hash_info else ""


def is_executable_file(entry: Any) -> bool:
    """True for a dependency or output that is an executable file in the workspace."""
    return is_local(entry) and entry.isfile() and Meta.from_info(entry.fs.info(entry.fs_path)).isexec


def _present_hash(entry: Any) -> FileHash:
    return FileHash(value_of(entry.get_hash()), is_executable=is_executable_file(entry))


def files_of(dep: Any) -> list[str]:
    """Return the files of a dependency that lie in the project, as paths relative to its folder."""
    if not (is_in_project(dep) and dep.exists):
        return []
    paths = dep.repo.dvcignore.find(dep.fs, dep.fs_path) if dep.isdir() else [dep.fs_path]
    return [str(os.path.relpath(path, dep.repo.root_dir)) for path in paths]


def _file_states(stage: DvcStage, producers: Mapping[Any, object]) -> dict[Any, Mapping[str, str]]:
    """DVC's status of each file and folder that no stage produces."""
    if stage.frozen:
        return {}
    files = [dep for dep in stage.deps if dep not in producers and not isinstance(dep, ParamsDependency)]
    return {dep: _file_state(dep) for dep in files}


def _file_state(dep: Any) -> Mapping[str, str]:
    """DVC's status of one file or folder; a newer version of an import is noted, since a run keeps the recorded one."""
    state: Mapping[str, str] = dep.status() or {}
    if UPDATE_AVAILABLE not in state.values():
        return state
    note_once(f"{dep.stage.addressing}: an update is available: `dvc update {shlex.quote(dep.stage.addressing)}`")
    return {}


def _own_changes(
    stage: DvcStage,
    producers: Mapping[Any, object],
    states: Mapping[Any, Mapping[str, str]],
    cosmetic: Mapping[Any, CosmeticChange],
) -> Iterator[Change]:
    """Changes of the command, of parameters, and of files that no stage produces."""
    if stage.changed_stage():
        yield Change("the command", "modified")
    if stage.frozen:
        return
    params = [dep for dep in stage.params if dep not in producers]
    yield from abbreviate_parameters([change for dep in params for change in _parameter_changes(dep)])
    yield from abbreviate(
        [Change(name, text) for dep, state in states.items() if dep not in cosmetic for name, text in state.items()],
        "files",
    )
    if cosmetic:
        yield Change(name_some([file for change in cosmetic.values() for file in change.files]), COSMETIC)


def _parameter_changes(dep: ParamsDependency) -> Iterator[Change]:
    recorded, present = dep.hash_info.value or {}, dep.read_params()
    names = dict.fromkeys([*dep.params, *recorded] if dep.params else [*present, *recorded])
    for key in names:
        yield from value_changes(key, recorded.get(key, ABSENT), present.get(key, ABSENT))
    if not names:  # a whole file without parameters: not recorded yet, or deleted
        yield from (Change(path_of(dep), state) for state in dep.status().values())


def parameters_text(values: Mapping[str, Any]) -> str:
    """Return values of parameters as the content of a `Dependency`."""
    return json.dumps(values, default=str)


def _is_recorded(entry: Any) -> bool:
    info = getattr(entry, "hash_info", None)  # a database has none
    return info is not None and info.value not in (None, "")  # {} for a file without parameters


def _dependency(dep: Any, producers: tuple[str, ...]) -> Dependency:
    if isinstance(dep, ParamsDependency):
        recorded = parameters_text(dep.hash_info.value) if _is_recorded(dep) else None
        values = parameters_text(dep.read_params()) if dep.exists else None
        return Dependency(path_of(dep), producers, recorded, values, tuple(dep.params))
    present = _present_hash(dep) if dep.exists else None
    return Dependency(path_of(dep), producers, value_of(dep.hash_info) or None, present)


def _present(stage: DvcStage) -> Hashes:
    """Hash of each output in the workspace that a run keeps: DVC replaces an edited copy of an import."""
    present = {path_of(out): _present_hash(out) for out in stage.outs if out.exists}
    recorded = recorded_hashes(stage)
    is_replaced = stage.is_import and not stage.frozen
    return {path: value for path, value in present.items() if not is_replaced or recorded.get(path) == value}


def folder_hash(files: Mapping[str, str]) -> str:
    """Return DVC's hash of a folder with these files: the MD5 of each by its path in the folder."""
    tree: Any = Tree()  # type: ignore[no-untyped-call]
    for name, md5 in files.items():
        tree.add(tuple(name.split("/")), None, HashInfo(HASH, md5))
    tree.digest()
    return str(tree.hash_info.value)
