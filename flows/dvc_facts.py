"""Facts for a plan, gathered from DVC's objects; and the questions that a plan asks of DVC's cache."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile import check, load
from dvc_data.hashfile.build import build
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.facts import Dependency, Facts, Hashes
from flows.masking import mask
from flows.model import Stage
from flows.reasons import ABSENT, NEVER_RUN, Change, brief, few_values, summed_up, value_changes

HASH = "md5"
Held = Sequence[tuple[HashInfo, Any, Any]]  # hash, size and content of each dependency and output


def active_graph(graph: "nx.DiGraph[DvcStage]") -> "nx.DiGraph[DvcStage]":
    """`graph` without what frozen stages depend on: DVC does not look at it."""
    active = graph.copy()
    active.remove_edges_from([edge for edge in graph.out_edges if edge[0].frozen])
    return active


class Situation:
    """The stages of a graph as they stand."""

    def __init__(self, graph: "nx.DiGraph[DvcStage]") -> None:
        self._graph = graph

    def of(self, stage: DvcStage, named: Stage) -> Facts:
        """Facts of one stage."""
        produced = {} if stage.frozen else self._produced(stage)
        outputs = [Change(name, state) for out in stage.outs for name, state in out.status().items()]
        known = any(entry.hash_info for entry in [*stage.deps, *stage.outs])
        own = _own_changes(stage, produced)
        return Facts(
            stage=named,
            own=tuple(own) if known else (NEVER_RUN,),
            dependencies=tuple(_dependency(dep, makers) for dep, makers in produced.items()),
            outputs=tuple(summed_up(outputs, "outputs")) if known else (),
            recorded={path_of(out): _value(out.hash_info) for out in stage.outs if out.hash_info},
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


class CacheAnswers:
    """What DVC's cache holds, asked with hashes that may lie in the future."""

    def __init__(self, repo: Repo, stages: Mapping[str, DvcStage]) -> None:
        self._repo = repo
        self._stages = stages
        self._situation = Situation(nx.DiGraph())

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Hash of each output that the cache holds of `stage` for these dependencies; None when it holds none."""
        dvc_stage = self._stages[stage]
        recorded = {path_of(out): _value(out.hash_info) for out in dvc_stage.outs}
        with self._situation.tentative(dvc_stage):
            before = [dep.hash_info for dep in dvc_stage.deps]
            try:
                for dep in dvc_stage.deps:
                    _expect(dep, dependencies)
            except DvcException:
                return None
            same = before == [dep.hash_info for dep in dvc_stage.deps] and not dvc_stage.changed_stage()
            if not can_be_cached(dvc_stage):
                return None
            held = recorded if same and all(recorded.values()) else self._newest(dvc_stage)
        return held if held and all(map(self._holds, held.values())) else None

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Hash that `path` will have once `outputs` lie in the workspace; None when that cannot be told."""
        if path in outputs:
            return outputs[path]
        leaves = dict(self._leaves(outputs))
        if path in leaves:
            return leaves[path]
        inside = {name: value for name, value in leaves.items() if overlap(name, path)}
        return self._tree_with(path, inside, outputs) if inside else None

    def _leaves(self, outputs: Hashes) -> Iterator[tuple[str, str]]:
        """Path and hash of each file in `outputs`, folders opened."""
        for path, value in outputs.items():
            if not value.endswith(".dir"):
                yield path, value
                continue
            for key, _, hash_info in Tree.load(self._repo.cache.local, HashInfo(HASH, value)):
                yield "/".join([path, *key]), _value(hash_info)

    def _tree_with(self, path: str, leaves: Hashes, outputs: Hashes) -> str | None:
        """Hash of the folder `path` as it lies there, with `leaves` in the place of what `outputs` replaces."""
        folder = Path(self._repo.root_dir) / path
        tree: Any = Tree()  # type: ignore[no-untyped-call]
        if folder.is_dir():
            cache, ignore = self._repo.cache.local, self._repo.dvcignore
            present: Any
            _, _, present = build(cache, str(folder), self._repo.fs, HASH, ignore=ignore, dry_run=True)
            for key, meta, hash_info in present:
                if not any(overlap("/".join([path, *key]), output) for output in outputs):
                    tree.add(key, meta, hash_info)
        for name, value in leaves.items():
            tree.add(Path(name).relative_to(path).parts, None, HashInfo(HASH, value))
        tree.digest()
        return _value(tree.hash_info)

    def _newest(self, stage: DvcStage) -> Hashes | None:
        """Outputs of the newest entry for the stage's present hashes: the one that DVC restores."""
        key = run_key(stage)
        folder = Path(self._repo.stage_cache.cache_dir) / key[:2] / key
        entries = list(folder.iterdir()) if folder.is_dir() else []
        if not entries:
            return None
        newest = max(entries, key=lambda file: file.stat().st_mtime)
        by_name = {out.def_path: path_of(out) for out in stage.outs}
        return {by_name[out["path"]]: out[HASH] for out in load_yaml(str(newest))["outs"]}

    def _holds(self, value: str) -> bool:
        """True when the cache has the content with this hash; of a folder, each file in it too."""
        cache = self._repo.cache.local
        try:
            check(cache, load(cache, HashInfo(HASH, value)))
        except (FileNotFoundError, ObjectFormatError):
            return False
        return True


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
    present = _value(dep.get_hash()) if dep.exists else None
    return Dependency(path_of(dep), makers, _value(dep.hash_info) or None, present)


def _present(stage: DvcStage) -> Hashes:
    return {path_of(out): _value(out.get_hash()) for out in stage.outs if out.exists}


def _expect(dep: Any, dependencies: Hashes) -> None:
    """Give `dep` the hash that it will have: the one foretold, or that of what lies there."""
    if path_of(dep) in dependencies and not isinstance(dep, ParamsDependency):
        dep.hash_info, dep.meta = HashInfo(HASH, dependencies[path_of(dep)]), Meta()  # DVC keeps a hash there too
    else:
        dep.save()


def can_be_cached(stage: DvcStage) -> bool:
    """True for a stage that DVC puts into its run cache."""
    if stage.is_callback or stage.always_changed or not (stage.cmd and stage.deps and stage.outs):
        return False
    local = all(entry.protocol == "local" and entry.def_path for entry in [*stage.deps, *stage.outs])
    return local and all(out.is_in_repo and not out.persist for out in stage.outs)


def path_of(entry: Any) -> str:
    """Path of a dependency or output below the project's folder."""
    return str(os.path.relpath(entry.fs_path, entry.repo.root_dir))


def _value(hash_info: HashInfo | None) -> str:
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
