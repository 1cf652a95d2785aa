"""Transfers all results and the run cache to and from the default DVC remote.

    push            uploads the outputs in dvc.lock
    push_run_cache  uploads run-cache entries, each after the outputs that it names
    pull_run_cache  downloads the entries alone; a stage's outputs are downloaded when it is restored
    pull            downloads the outputs in dvc.lock and puts them into the workspace

An error of a remote's library becomes one sentence without credentials, and exit code 1. A failed transfer changes
nothing locally and can be repeated: objects that were transferred already are skipped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from dvc.config import ConfigError, NoRemoteError, RemoteConfigError
from dvc.exceptions import DvcException
from dvc.fs import HTTPFileSystem
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.status import status
from dvc_data.hashfile.transfer import transfer
from dvc_data.hashfile.tree import Tree
from dvc_objects.fs.base import ObjectFileSystem
from dvc_objects.fs.generic import copy
from dvc_objects.fs.local import LocalFileSystem

from flows.core.errors import NoRemote, UnknownStage
from flows.core.file_lock import emptied_folder, exclusive_lock
from flows.dvc_repo.change_detection import HASH, path_of
from flows.dvc_repo.damaged_objects import mend_cache
from flows.dvc_repo.dvc_errors import ErrorCollector
from flows.dvc_repo.locking import cache_lock_path, print_to_stderr
from flows.dvc_repo.remote.output_settings import OutputSettings
from flows.dvc_repo.remote.results import (
    RUNS,
    RUNS_HASH,
    default_remote_of,
    is_complete_entry,
    remote_failed,
    store_entry,
    verify_downloads,
)
from stages.base.errors import InkflowError

T = TypeVar("T")


def default_remote(root: Path) -> str | None:
    """Return the name of the project's default remote; None if there is none.

    Raises:
        InkflowError: DVC's configuration cannot be read.
    """
    try:
        with Repo(str(root)) as repo:
            return default_remote_of(repo)[0] or None
    except ConfigError as error:
        raise InkflowError(f"DVC's configuration cannot be read: {error}") from error


def require_remote(root: Path) -> None:
    """Raise NoRemote unless the project has a default remote."""
    if default_remote(root) is None:
        raise NoRemote


def push(root: Path, targets: Sequence[str] = ()) -> int:
    """Upload the outputs of `targets` (all when empty) that dvc.lock names, and return the number of uploaded files.

    Raises:
        NoRemote, RemoteFailed, UnknownStage: nothing changed locally.
    """
    with _open_repo(root) as repo:
        _retry_while_locked(lambda: mend_cache(repo, print_to_stderr))
        return int(_retry_while_locked(lambda: repo.push(targets=_paths(repo, targets))))


def pull(root: Path, targets: Sequence[str] = ()) -> int:
    """Download the outputs of `targets` (all when empty) that dvc.lock names, and return the number of fetched files.

    Raises:
        NoRemote, RemoteFailed, UnknownStage: nothing changed in the workspace.
    """
    with _open_repo(root) as repo:
        _retry_while_locked(lambda: mend_cache(repo, print_to_stderr))
        result = _retry_while_locked(lambda: repo.pull(targets=_paths(repo, targets)))
        return int(result.get("stats", {}).get("fetched", 0))


def push_run_cache(root: Path) -> int:
    """Upload the run-cache entries that the remote lacks, after their outputs, and return the number of entries.

    Entries whose outputs are not in the local cache, or have `push: false`, are skipped. Outputs go to their `remote`.

    Raises:
        NoRemote, RemoteFailed: nothing changed locally.
    """
    with _open_repo(root) as repo:
        if not _can_have_run_cache(repo):
            return 0
        local, remote = _run_caches(repo)
        settings = OutputSettings(repo)
        remote_sizes = _entry_sizes(remote)
        names = [name for name, size in _entry_sizes(local).items() if remote_sizes.get(name) != size]
        found = {name: _outputs(Path(local.path) / RUNS / name) for name in names}
        outputs = {name: settings.by_remote(Path(name).parent.name, items) for name, items in found.items() if items}
        present = _present(repo, {item for pairs in outputs.values() for _, item in pairs})
        ready = {name: pairs for name, pairs in outputs.items() if pairs and {item for _, item in pairs} <= present}
        contents = {pair for pairs in ready.values() for pair in pairs}
        for destination in {remote for remote, _ in contents}:
            _upload(repo, {item for remote, item in contents if remote == destination}, destination)
        sources = [str(Path(local.path) / RUNS / name) for name in ready]
        if sources:
            copy(local.fs, sources, remote.fs, [_entry_path(remote, name) for name in ready])
        return len(ready)


def push_all(root: Path) -> str:
    """Upload results and run cache, and return a summary.

    Raises:
        NoRemote, RemoteFailed: nothing changed locally.
    """
    files, entries = push(root), push_run_cache(root)
    return f"{files} files and {entries} entries of the run cache pushed"


def pull_run_cache(root: Path) -> int:
    """Download the run-cache entries that the local cache lacks, and return the number of new entries.

    Raises:
        NoRemote, RemoteFailed: the local run cache did not change.
    """
    with (
        _open_repo(root) as repo,
        emptied_folder(folder := Path(repo.tmp_dir) / "inkflow-runs", folder.with_suffix(".lock")),
    ):
        if not _can_have_run_cache(repo):
            return 0
        local, remote = _run_caches(repo)
        known = _entry_sizes(local)
        names = [name for name in _entry_sizes(remote) if name not in known]
        paths = [folder / name for name in names]
        if names:
            copy(remote.fs, [_entry_path(remote, name) for name in names], local.fs, [str(path) for path in paths])
        complete = [name for name, path in zip(names, paths, strict=True) if _outputs(path) is not None]
        with exclusive_lock(cache_lock_path(Path(local.path))):  # DVC reads incomplete entries too
            for name in complete:
                store_entry(repo, name, (folder / name).read_bytes())
        return len(complete)


def missing_in_remote(root: Path) -> dict[str, list[str]]:
    """Return the outputs in dvc.lock that the remote lacks, wholly or in part, by stage.

    Raises:
        NoRemote, RemoteFailed: the remote cannot be used.
    """
    with _open_repo(root) as repo:
        outputs = {
            (_address(stage), path_of(out)): (out.remote, HashInfo(HASH, out.hash_info.value))
            for stage in repo.index.stages
            for out in stage.outs
            if out.use_cache and out.can_push and out.hash_info
        }
        missing: dict[str, list[str]] = {}
        for remote in {name for name, _ in outputs.values()}:
            odb = repo.cloud.get_remote_odb(remote, "status")
            items = {key: item for key, (name, item) in outputs.items() if name == remote}
            contents = {key: [*_folder_files(repo, odb, item), item] for key, item in items.items()}
            present = set(odb.oids_exist({item.value for files in contents.values() for item in files}))
            for (stage, path), files in contents.items():
                if any(item.value not in present for item in files):
                    missing.setdefault(stage, []).append(path)
        return missing


def _address(stage: DvcStage) -> str:
    """DVC's address of a stage as seen from the project's folder, whatever the current folder is."""
    file = str(Path(stage.path).relative_to(stage.repo.root_dir))
    if not stage.is_data_source and file == "dvc.yaml":
        return str(stage.name)
    return f"{file}:{stage.name}" if getattr(stage, "name", None) else file


def _paths(repo: Repo, targets: Sequence[str]) -> list[str] | None:
    """Absolute paths of the outputs of stages, groups or paths; DVC resolves targets from the current folder."""
    outputs = [(_address(stage), path_of(out)) for stage in repo.index.stages for out in stage.outs if out.use_cache]
    paths = []
    for target in targets:
        matches = [path for stage, path in outputs if target in (stage, stage.partition("@")[0], path)]
        if not matches and not any(target.startswith(f"{path}/") for _, path in outputs):
            raise UnknownStage(target, list(dict.fromkeys(stage for stage, _ in outputs)))
        paths += matches or [target]
    return [str(Path(repo.root_dir) / path) for path in paths] or None


def _folder_files(repo: Repo, odb: Any, item: HashInfo) -> list[HashInfo]:
    """Hashes of the files in a folder, from the local cache or else from `odb`; empty for a file."""
    if not item.isdir:
        return []
    for source in (repo.cache.local, odb):
        try:
            return [content for _, _, content in Tree.load(source, item)]
        except FileNotFoundError:
            continue
    return []


def _can_have_run_cache(repo: Repo) -> bool:
    """False for remotes with versions of files instead of hashes, and for HTTP: DVC has no run cache there either."""
    remote = repo.cloud.get_remote()
    return not (remote.worktree or remote.fs.version_aware or isinstance(remote.fs, HTTPFileSystem))


def _run_caches(repo: Repo) -> tuple[Any, Any]:
    """Object databases that hold the run cache: the local one and the remote's."""
    return repo.cache.legacy, repo.cloud.get_remote_odb(command="push --run-cache", hash_name=RUNS_HASH)


def _entry_path(odb: Any, name: str) -> str:
    """Path of a run-cache entry in a remote."""
    return str(odb.fs.join(odb.path, RUNS, *name.split("/")))


def _entry_sizes(odb: Any) -> dict[str, int]:
    """Size of each run-cache entry, by its path below `runs`."""
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


def _outputs(entry: Path) -> dict[str, HashInfo] | None:
    """Outputs by path that a run-cache entry names; None for an incomplete entry, which a killed process may leave."""
    if not is_complete_entry(entry):
        return None
    return {out["path"]: HashInfo(HASH, out[HASH]) for out in load_yaml(str(entry))["outs"]}


def _present(repo: Repo, items: set[HashInfo]) -> set[HashInfo]:
    """Those of `items` that are in the local cache, folders with all their files."""
    cache = repo.cache.local
    contents = {item: [*_folder_files(repo, cache, item), item] for item in items}
    exists, _ = status(cache, {content for group in contents.values() for content in group})
    return {item for item, group in contents.items() if set(group) <= exists}


def _upload(repo: Repo, items: set[HashInfo], remote: str | None) -> None:
    """Upload objects of the local cache, folders with all their files, to a remote, the default one if None."""
    cache, odb = repo.cache.local, repo.cloud.get_remote_odb(remote, "push")
    contents = {content for item in items for content in [*_folder_files(repo, cache, item), item]}
    if contents:
        result = transfer(cache, odb, contents, cache_odb=cache)
        if result.failed:
            raise DvcException(f"{len(result.failed)} files could not be sent")


def _retry_while_locked(action: Callable[[], T]) -> T:
    """Run `action` until no other process holds DVC's lock, and return its result."""
    while True:
        try:
            return action()
        except LockError:
            continue  # DVC itself waits for three seconds before it raises


@contextmanager
def _open_repo(root: Path) -> Iterator[Repo]:
    with Repo(str(root)) as repo, _translated_errors(repo):
        verify_downloads(repo)
        yield repo


@contextmanager
def _translated_errors(repo: Repo) -> Iterator[None]:
    """Raise errors in the block as errors of Inkflow. DVC logs why a transfer failed, and raises a count of files."""
    collector = ErrorCollector()
    try:
        with collector.capture():
            yield
    except InkflowError:
        raise
    except NoRemoteError as error:
        raise NoRemote from error
    except Exception as error:  # each kind of remote has a library with its own errors
        cause = error if isinstance(error, RemoteConfigError) else (collector.errors or [error])[0]
        raise remote_failed(repo, cause) from error
