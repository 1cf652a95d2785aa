"""Answers of DVC's cache, local and in the remote, asked with hashes that may lie in the future: for a plan."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile import check, load
from dvc_data.hashfile.build import build
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.core.errors import RemoteFailed
from flows.dvc_repo.dvc_facts import HASH, StageInspector, can_be_cached, overlap, path_of, run_key, value_of
from flows.dvc_repo.remote_results import is_whole
from flows.dvc_repo.transfer_errors import reason
from flows.engine.planning.stage_facts import Hashes


class CacheLookup:
    """What DVC's cache holds; with `pull` the remote is asked for what the cache here lacks."""

    def __init__(self, repo: Repo, stages: Mapping[str, DvcStage], *, pull: bool = False) -> None:
        self._pull = pull
        self._repo = repo
        self._stages = stages
        self._situation = StageInspector(nx.DiGraph())

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Hash of each output that the cache holds of `stage` for these dependencies; None when it holds none."""
        dvc_stage = self._stages[stage]
        recorded = {path_of(out): value_of(out.hash_info) for out in dvc_stage.outs}
        if dvc_stage.cmd is None or dvc_stage.frozen:
            missing = [recorded[path_of(out)] for out in dvc_stage.outs if not out.exists]
            return recorded if all(value and self._holds(value) for value in missing) else None
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
            for key, _, hash_info in self._tree(value):
                yield "/".join([path, *key]), value_of(hash_info)

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
        return value_of(tree.hash_info)

    def entry(self, stage: DvcStage) -> Path | None:
        """The newest entry of the run cache for the stage's present hashes: the one that DVC restores.

        None where that is not whole: DVC takes for an entry what a killed process left half written.
        """
        key = run_key(stage)
        folder = Path(self._repo.stage_cache.cache_dir) / key[:2] / key
        entries = list(folder.iterdir()) if folder.is_dir() else []
        newest = max(entries, key=lambda file: file.stat().st_mtime, default=None)
        return newest if newest and is_whole(newest) else None

    def _newest(self, stage: DvcStage) -> Hashes | None:
        """Outputs that the run cache has for the stage's present hashes."""
        entry = self.entry(stage)
        if entry is None:
            return None
        by_name = {out.def_path: path_of(out) for out in stage.outs}
        return {by_name[out["path"]]: out[HASH] for out in load_yaml(str(entry))["outs"]}

    def _holds(self, value: str) -> bool:
        """True when the content with this hash is at hand; of a folder, each file in it too."""
        cache = self._repo.cache.local
        try:
            check(cache, load(cache, HashInfo(HASH, value)))
        except (FileNotFoundError, ObjectFormatError):
            return self._pull and self._remote_gives(value)
        return True

    def _remote_gives(self, value: str) -> bool:
        """True when the remote has what the cache here lacks of the content with this hash."""
        try:
            inside = [value_of(item) for _, _, item in self._tree(value)] if value.endswith(".dir") else []
            missing = {value, *inside} - set(self._repo.cache.local.oids_exist([value, *inside]))
            return missing <= set(self._remote().oids_exist(list(missing)))
        except FileNotFoundError:
            return False
        except Exception as error:  # each kind of remote has a library with errors of its own
            name = str(self._repo.config["core"].get("remote"))
            url = str(self._repo.config["remote"].get(name, {}).get("url", ""))
            raise RemoteFailed(name, url, reason(error)) from error

    def _tree(self, value: str) -> Iterator[tuple[tuple[str, ...], Any, HashInfo]]:
        """Path, size and hash of each file in the folder with this hash.

        Raises:
            FileNotFoundError: its list is not at hand.
        """
        try:
            yield from Tree.load(self._repo.cache.local, HashInfo(HASH, value))
        except FileNotFoundError:
            if not self._pull:
                raise
            yield from Tree.load(self._remote(), HashInfo(HASH, value))

    def _remote(self) -> Any:
        return self._repo.cloud.get_remote_odb(command="status")


def _expect(dep: Any, dependencies: Hashes) -> None:
    """Give `dep` the hash that it will have: the one foretold, or that of what lies there."""
    if path_of(dep) in dependencies and not isinstance(dep, ParamsDependency):
        dep.hash_info, dep.meta = HashInfo(HASH, dependencies[path_of(dep)]), Meta()  # DVC keeps a hash there too
    else:
        dep.save()
