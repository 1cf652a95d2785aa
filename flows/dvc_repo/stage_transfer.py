"""A stage that runs on another machine, as DVC sees it: what it reads goes there, its result comes back."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
from dvc.config import Config
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.hash_info import HashInfo

from flows.core.errors import CannotBeSent, DvcFailed
from flows.dvc_repo.dvc_facts import HASH, can_be_cached, files_of, overlap, path_of, run_key
from flows.dvc_repo.remote_results import Remote


@dataclass(frozen=True)
class Needs:
    """What a stage reads, frozen: outputs of other stages by path and hash, and files that git has to know."""

    run_key: str
    inputs: Mapping[str, str]
    files: Sequence[str]


class StageTransfer:
    """The part of a repository that stages on other machines need."""

    def __init__(
        self,
        repo: Repo,
        graph: "nx.DiGraph[DvcStage]",
        locked: Callable[[], AbstractContextManager[None]],
        patience_s: float,
        ended: threading.Event,
    ) -> None:
        self._graph = graph
        self._by_name = {stage.addressing: stage for stage in graph}
        self._locked = locked
        self._remote = Remote(repo, patience_s, ended)
        self.remote_folders = self._remote.folders()

    def ensure_possible(self, name: str) -> None:
        """Raise NoRemote or CannotBeSent where the result of stage `name` could not come back."""
        self._remote.ensure_named(name)
        stage = self._by_name[name]
        kept = all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
        if not (can_be_cached(stage) and kept):
            raise CannotBeSent(
                name, "DVC keeps no run cache for it, by which its result comes back; take `pool` from its policy"
            )

    def fetch(self, name: str, key: str) -> bool:
        """Bring the result that the remote has of stage `name` under `key` into the cache; false where it has none."""
        return self._remote.fetch_run(name, key)

    def needs(self, name: str) -> Needs:
        """What stage `name`, which was begun, reads.

        Raises:
            CannotBeSent: it reads something of another stage that DVC does not keep and git does not know.
        """
        with self._locked():
            stage = self._by_name[name]
            made = [out for maker in self._graph.successors(stage) for out in maker.outs]
            read = [out for out in made if any(overlap(dep.fs_path, out.fs_path) for dep in stage.deps)]
            inputs = {path_of(out): str(out.hash_info.value) for out in read if out.use_cache and out.hash_info}
            files = [path_of(out) for out in read if not out.use_cache]
            for dep in stage.deps:
                if isinstance(dep, ParamsDependency):
                    files.append(path_of(dep))
                elif not any(overlap(dep.fs_path, out.fs_path) for out in made):
                    files += files_of(dep)
            definition = str(Path(stage.path).relative_to(stage.repo.root_dir))
            return Needs(run_key(stage), inputs, sorted({definition, *files}))

    def send(self, name: str, needs: Needs) -> None:
        """Bring what stage `name` reads of other stages to the remote."""
        self._remote.push(name, list(needs.inputs.values()))

    def take(self, name: str, needs: Needs) -> None:
        """Put the result that a worker gave of stage `name`, which was begun, into the workspace.

        Raises:
            CannotBeSent: the remote has none.
        """
        if not self._remote.fetch_run(name, needs.run_key):
            raise DvcFailed(
                f"{name}: the worker ended well, and the DVC remote has no result of it; does it use another?"
            )
        with self._locked():
            stage = self._by_name[name]
            for out in stage.outs:
                out.hash_info = HashInfo()  # else DVC takes the recorded outputs for those of the present inputs
            stage.repo.stage_cache.restore(stage)


class WorkerProject:
    """A DVC project in a clone on a worker, for one stage of an order."""

    def __init__(self, root: Path, patience_s: float, ended: threading.Event) -> None:
        self._repo = Repo(str(root))
        self._remote = Remote(self._repo, patience_s, ended)

    def lay_out(self, stage: str, inputs: Mapping[str, str]) -> None:
        """Put what `stage` reads of other stages into the workspace, by path and hash."""
        self._remote.ensure_named(stage)
        missing = dict(inputs)
        try:
            outs = [(out, missing.pop(path_of(out))) for out in self._repo.index.outs if path_of(out) in missing]
            self._remote.pull(stage, list(inputs.values()))
            for out, value in outs:
                out.hash_info, out.obj = HashInfo(HASH, value), None
                out.checkout(force=True)
        except DvcException as error:
            raise DvcFailed(f"{stage}: what it reads cannot be laid out: {error}") from error
        if missing:
            raise DvcFailed(f"{stage}: dvc.yaml of this commit makes no {', '.join(missing)}")

    def give(self, stage: str, key: str) -> None:
        """Bring the result of `stage` to the remote."""
        self._remote.push_run(stage, key)

    def close(self) -> None:
        """Let go of DVC's databases."""
        self._repo.close()


def configure(root: Path, home: Path, remote_folders: Mapping[str, str]) -> None:
    """Give the clone at `root` the cache of the worker at `home`, which all its clones share."""
    with Config(str(root / ".dvc"), validate=False).edit("local", validate=False) as config:
        config["cache"] = {"dir": str(home / "cache"), "type": "reflink,hardlink,copy"}
        config.setdefault("core", {})["site_cache_dir"] = str(home / "site")
        config["remote"] = {name: {"url": url} for name, url in remote_folders.items()}
