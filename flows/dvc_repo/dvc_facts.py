"""Facts for a plan, gathered from DVC's objects."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import networkx as nx
from dvc.dependency import ParamsDependency
from dvc.stage import Stage as DvcStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc_data.hashfile.hash_info import HashInfo

from flows.core.redaction import mask
from flows.engine.planning.change_messages import ABSENT, NEVER_RUN, Change, brief, few_values, summed_up, value_changes
from flows.engine.planning.stage_facts import Dependency, Facts, Hashes
from flows.engine.types import Stage

HASH = "md5"
Held = Sequence[tuple[HashInfo, Any, Any]]  # hash, size and content of each dependency and output


def active_graph(graph: "nx.DiGraph[DvcStage]") -> "nx.DiGraph[DvcStage]":
    """`graph` without what frozen stages depend on: DVC does not look at it."""
    active = graph.copy()
    active.remove_edges_from([edge for edge in graph.out_edges if edge[0].frozen])
    return active


class StageInspector:
    """The stages of a graph as they stand."""

    def __init__(self, graph: "nx.DiGraph[DvcStage]") -> None:
        self._graph = graph

    def of(self, stage: DvcStage, named: Stage) -> Facts:
        """Facts of one stage."""
        produced = {} if stage.frozen else self._produced(stage)
        outputs = [Change(name, state) for out in stage.outs for name, state in out.status().items()]
        entries = [*stage.deps, *stage.outs]
        known = not entries or any(entry.hash_info for entry in entries)  # of none there is nothing to record
        own = _own_changes(stage, produced)
        return Facts(
            stage=named,
            own=tuple(own) if known else (NEVER_RUN,),
            dependencies=tuple(_dependency(dep, makers) for dep, makers in produced.items()),
            outputs=tuple(summed_up(outputs, "outputs")) if known else (),
            recorded={path_of(out): value_of(out.hash_info) for out in stage.outs if out.hash_info},
            present=_present(stage) if stage.cmd is None or stage.frozen else {},
            always=bool(stage.is_callback or stage.always_changed) and not stage.frozen,
            tracked=stage.cmd is None or stage.frozen,
        )

    @contextmanager
    def tentative(self, stage: DvcStage) -> Iterator[Callable[[], None]]:
        """Put the stage's hashes back at the end, unless the block calls what it is given."""
        recorded, kept = hashes_of(stage), False

        def keep() -> None:
            nonlocal kept
            kept = True

        try:
            yield keep
        finally:
            if not kept:
                set_hashes(stage, recorded)

    def _produced(self, stage: DvcStage) -> dict[Any, tuple[str, ...]]:
        """Dependencies of `stage` that other stages make, with the names of those."""
        makers = [(maker.addressing, out.fs_path) for maker in self._graph.successors(stage) for out in maker.outs]
        found = {}
        for dep in stage.deps:
            names = dict.fromkeys(name for name, path in makers if overlap(dep.fs_path, path))
            if names:
                found[dep] = tuple(names)
        return found


def hashes_of(stage: DvcStage) -> Held:
    """What the stage's objects hold of each dependency and output: for `set_hashes`."""
    return [(entry.hash_info, entry.meta, getattr(entry, "obj", None)) for entry in [*stage.deps, *stage.outs]]


def set_hashes(stage: DvcStage, hashes: Held) -> None:
    """Give the stage's objects what they held before."""
    for entry, (hash_info, meta, obj) in zip([*stage.deps, *stage.outs], hashes, strict=True):
        entry.hash_info, entry.meta, entry.obj = hash_info, meta, obj


def whole_message(error: BaseException) -> str:
    """The words of an error of DVC's and of all that caused it, without secrets."""
    causes = []
    here: BaseException | None = error
    while here is not None:
        causes.append(" ".join(str(here).split()))
        here = here.__cause__
    return mask(": ".join(causes))


def run_key(stage: DvcStage) -> str:
    """Key of the run cache for the stage's command and the hashes that its dependencies have now."""
    entry = to_single_stage_lockfile(stage)
    entry["outs"] = [out["path"] for out in entry.get("outs", [])]
    return str(dict_sha256(entry, exclude=["size", "nfiles"]))


def _own_changes(stage: DvcStage, produced: Mapping[Any, object]) -> Iterator[Change]:
    """What changed that no other stage makes: the command, parameters, files of the project."""
    if stage.changed_stage():
        yield Change("the command", "modified")
    if stage.frozen:
        return
    yield from few_values([change for dep in stage.params for change in _parameter_changes(dep)])
    files = [dep for dep in stage.deps if dep not in produced and not isinstance(dep, ParamsDependency)]
    yield from brief([Change(name, state) for dep in files for name, state in dep.status().items()], "files")


def _parameter_changes(dep: ParamsDependency) -> Iterator[Change]:
    recorded, present = dep.hash_info.value or {}, dep.read_params()
    for key in dict.fromkeys([*dep.params, *recorded] if dep.params else [*present, *recorded]):
        yield from value_changes(key, recorded.get(key, ABSENT), present.get(key, ABSENT))


def _dependency(dep: Any, makers: tuple[str, ...]) -> Dependency:
    present = value_of(dep.get_hash()) if dep.exists else None
    return Dependency(path_of(dep), makers, value_of(dep.hash_info) or None, present)


def _present(stage: DvcStage) -> Hashes:
    return {path_of(out): value_of(out.get_hash()) for out in stage.outs if out.exists}


def can_be_cached(stage: DvcStage) -> bool:
    """True for a stage that DVC puts into its run cache."""
    if stage.is_callback or stage.always_changed or not (stage.cmd and stage.deps and stage.outs):
        return False
    local = all(entry.protocol == "local" and entry.def_path for entry in [*stage.deps, *stage.outs])
    return local and all(out.is_in_repo and not out.persist for out in stage.outs)


def path_of(entry: Any) -> str:
    """Path of a dependency or output below the project's folder."""
    return str(os.path.relpath(entry.fs_path, entry.repo.root_dir))


def value_of(hash_info: HashInfo | None) -> str:
    """The hash as text; empty where there is none."""
    return str(hash_info.value) if hash_info else ""


def files_of(dep: Any) -> list[str]:
    """Files of the project that belong to a dependency, as paths below its folder."""
    if not (dep.is_in_repo and dep.exists):
        return []
    found = dep.repo.dvcignore.find(dep.fs, dep.fs_path) if dep.isdir() else [dep.fs_path]
    return [str(os.path.relpath(path, dep.repo.root_dir)) for path in found]


def overlap(one: str, other: str) -> bool:
    """True when one path is the other, or lies in it."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
