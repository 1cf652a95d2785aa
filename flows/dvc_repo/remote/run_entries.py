"""The entries of the run cache in a cache or remote: their paths, sizes and outputs."""

from pathlib import Path
from typing import Any

from dvc.config import NoRemoteError
from dvc.fs import HTTPFileSystem
from dvc.repo import Repo
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_objects.fs.base import ObjectFileSystem
from dvc_objects.fs.local import LocalFileSystem

from flows.core.notices import note_once
from flows.dvc_repo.remote.layouts import entry_hash
from flows.dvc_repo.remote.output_settings import names_remote
from flows.dvc_repo.remote.results import RUNS, RUNS_HASH, is_complete_entry

NO_DEFAULT = "no DVC remote is the default: the run cache is not exchanged; choose one: `dvc remote default NAME`"


def can_have_run_cache(repo: Repo) -> bool:
    """Return False for remotes with versions of files instead of hashes, and for HTTP, as DVC has no run cache there.

    It is also False, with a note, if outputs name their remotes and none is the default one.

    Raises:
        NoRemoteError: there is no default remote, and no output names one.
    """
    try:
        remote = repo.cloud.get_remote()
    except NoRemoteError:
        if not names_remote(repo):
            raise
        note_once(NO_DEFAULT)
        return False
    return not (remote.worktree or remote.fs.version_aware or isinstance(remote.fs, HTTPFileSystem))


def run_caches(repo: Repo) -> tuple[Any, Any]:
    """Return the object databases that hold the run cache: the local one and the remote's."""
    return repo.cache.legacy, repo.cloud.get_remote_odb(command="push --run-cache", hash_name=RUNS_HASH)


def entry_path(odb: Any, name: str) -> str:
    """Return the path of a run-cache entry in a remote."""
    return str(odb.fs.join(odb.path, RUNS, *name.split("/")))


def entry_sizes(odb: Any) -> dict[str, int]:
    """Return the size of each run-cache entry, by its path below `runs`."""
    runs = odb.fs.join(odb.path, RUNS)
    if isinstance(odb.fs, LocalFileSystem):
        files = [path for path in Path(runs).glob("??/*/*") if path.is_file()]
        return {path.relative_to(runs).as_posix(): path.stat().st_size for path in files}
    if not odb.fs.exists(runs):
        if isinstance(odb.fs, ObjectFileSystem):
            odb.fs.fs.ls(odb.path.partition("/")[0])  # raises if the bucket does not exist
        return {}
    infos = odb.fs.fs.find(runs, detail=True)
    return {odb.fs.relpath(odb.fs.join(path), runs): int(info["size"]) for path, info in infos.items()}


def outputs_of(entry: Path) -> dict[str, HashInfo] | None:
    """Return the outputs by path that an entry names; None for an incomplete one, which a killed process may leave."""
    if not is_complete_entry(entry):
        return None
    return {out["path"]: entry_hash(out) for out in load_yaml(str(entry))["outs"]}
