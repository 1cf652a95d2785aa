"""Artifacts that dvc.yaml names: their files, the stages that make them, and the hashes that dvc.lock has for them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.hash import hash_file

from flows.core.notices import note_once
from flows.dvc_repo.change_detection import HASH, path_of, value_of
from flows.dvc_repo.opening import open_repo
from flows.dvc_repo.remote.layouts import DVC_2_HASH
from flows.dvc_repo.remote.results import default_remote_of
from flows.dvc_repo.repository import Repository
from flows.engine.planning.plan import plan
from flows.engine.types import Scope
from stages.base.digests import file_md5
from stages.base.errors import InvalidInput
from stages.base.suggestions import did_you_mean

CachedFile = Callable[[str], Path | None]
EXAMPLE = "artifacts: {{{name}: {{path: models/{name}/model.onnx, type: model}}}}"


@dataclass(frozen=True)
class Artifact:
    """An artifact of dvc.yaml.

    Attributes:
        name: its name in dvc.yaml.
        path: its file or folder, below the project's folder.
        stage: the name of the stage that makes it; empty for a file that DVC or Git tracks as it is.
        hash: the hash that DVC records for it; empty if DVC does not track it.
        data: hashes of the stage's inputs that are outputs of other stages, by path.
    """

    name: str
    path: str
    stage: str
    hash: str
    data: dict[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """What a version's tag records of the artifact."""
        data = ", ".join(f"{path} {digest}" for path, digest in self.data.items())
        return {"Path": self.path, "MD5": self.hash, "Data": data}


def find_artifact(root: Path, name: str) -> Artifact:
    """Returns the artifact `name` of the dvc.yaml in `root`.

    Raises:
        InvalidInput: dvc.yaml names no such artifact; the message says what to add.
        PipelineInvalid: DVC cannot read the project.
    """
    with open_repo(root) as repo:
        artifacts = repo.artifacts.read().get("dvc.yaml", {})
        if name not in artifacts:
            known = f"known: {', '.join(artifacts)}" if artifacts else "it names none"
            raise InvalidInput(
                f"dvc.yaml has no artifact {name!r}; {did_you_mean(name, list(artifacts))}{known}; add it: "
                + EXAMPLE.format(name=name)
            )
        path = artifacts[name].path
        outs = {path_of(out): out for out in repo.index.outs}
        out = outs.get(path)
        if out is None:
            return Artifact(name, path, "", "", {})
        inputs = {str(dep): _value(dep.hash_info) for dep in out.stage.deps if str(dep) in outs}
        return Artifact(name, path, out.stage.addressing, _value(out.hash_info), inputs)


@contextmanager
def cached_files(root: Path) -> Iterator[CachedFile]:
    """Yields a function that returns the file with an MD5 hash in the local cache; None if the cache has none."""
    with open_repo(root) as repo:
        yield partial(cached_file, repo)


def cached_file(repo: Repo, digest: str) -> Path | None:
    """Returns the file with an MD5 hash in the local cache; None if there is none, or a damaged one."""
    for cache in (repo.cache.local, repo.cache.legacy):  # DVC 2 had another layout, and another hash of texts
        path = Path(cache.oid_to_path(digest)) if digest else None
        if path is None or not path.is_file():
            continue
        if _is_intact(path, digest.removesuffix(".dir"), cache):
            return path
        note_once(f"{path} in DVC's cache is damaged, and is not used; delete it, and `dvc fetch` it again")
    return None


def _is_intact(path: Path, digest: str, cache: Any) -> bool:
    found = file_md5(path)
    if found and found != digest and cache.hash_name == DVC_2_HASH:
        found = value_of(hash_file(str(path), cache.fs, cache.hash_name)[1])
    return found == digest


def in_remote(root: Path, digests: Sequence[str]) -> set[str] | None:
    """Returns those of the MD5 hashes whose objects the default remote has, none without one; None if it is away."""
    try:
        with Repo(str(root)) as repo:
            if not default_remote_of(repo)[0]:
                return set()
            remotes = [repo.cloud.get_remote_odb(command="status", hash_name=name) for name in (HASH, DVC_2_HASH)]
            return {digest for digest in digests if any(remote.exists(digest) for remote in remotes)}
    except Exception:  # noqa: BLE001 - each kind of remote has a library with its own errors
        return None


def outdated_stages(root: Path, artifact: Artifact) -> list[str]:
    """Returns the stages before and after the artifact's own that would run, or are not in the workspace."""
    if not artifact.stage:
        return []
    with Repository(root) as repository:
        around = [repository.stages([artifact.stage], scope) for scope in (Scope.UPSTREAM, Scope.DOWNSTREAM)]
        names = {stage.name for stages in around for stage in stages}
        facts = [item for item in repository.facts(with_absent=True) if item.stage.name in names]
        decisions = plan(facts, repository.cache, force=False, fixed=[])
    return [decision.stage for decision in decisions if decision.is_work]


def _value(hash_info: Any) -> str:
    return str(hash_info.value) if hash_info and hash_info.value else ""
