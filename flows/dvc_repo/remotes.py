"""Transfers all results and the run cache to and from the DVC remotes: the default one, and those of single outputs.

    push            uploads the outputs in dvc.lock
    push_run_cache  uploads run-cache entries, each after the outputs that it names
    pull_run_cache  downloads the entries alone; a stage's outputs are downloaded when it is restored
    pull            downloads the outputs in dvc.lock and puts them into the workspace

An error of a remote's library becomes one sentence without credentials, and exit code 1. A failed transfer changes
nothing locally and can be repeated: objects that were transferred already are skipped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dvc.config import ConfigError, NoRemoteError, RemoteConfigError
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.status import status
from dvc_data.hashfile.transfer import transfer
from dvc_objects.fs.generic import copy

from flows.core.errors import NoRemote, UnknownStage
from flows.core.file_lock import emptied_folder, exclusive_lock
from flows.core.values import counted
from flows.dvc_repo.change_detection import path_of
from flows.dvc_repo.damaged_objects import mend_cache
from flows.dvc_repo.dvc_errors import ErrorCollector
from flows.dvc_repo.locking import cache_lock_path, print_to_stderr
from flows.dvc_repo.opening import open_repo
from flows.dvc_repo.remote.layouts import by_layout, cache_of, folder_files, remote_of
from flows.dvc_repo.remote.output_settings import OutputSettings, names_remote
from flows.dvc_repo.remote.results import RUNS, default_remote_of, remote_failed, store_entry, verify_downloads
from flows.dvc_repo.remote.run_entries import can_have_run_cache, entry_path, entry_sizes, outputs_of, run_caches
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


def has_remote(root: Path) -> bool:
    """Return True if the project has a default remote, or an output names its own.

    Raises:
        InkflowError: DVC's configuration or the pipeline cannot be read.
    """
    if default_remote(root) is not None:
        return True
    with open_repo(root) as repo:
        return names_remote(repo)


def require_remote(root: Path) -> None:
    """Raise NoRemote unless results can be pushed: to a default remote, or to those that outputs name."""
    if not has_remote(root):
        raise NoRemote


def require_default_remote(root: Path) -> None:
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
        paths = _paths(repo, targets) or _paths_with_remote(repo)
        return int(_retry_while_locked(lambda: repo.push(targets=paths)))


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
        if not can_have_run_cache(repo):
            return 0
        local, remote = run_caches(repo)
        settings = OutputSettings(repo)
        remote_sizes = entry_sizes(remote)
        names = [name for name, size in entry_sizes(local).items() if remote_sizes.get(name) != size]
        found = {name: outputs_of(Path(local.path) / RUNS / name) for name in names}
        outputs = {name: settings.by_remote(Path(name).parent.name, items) for name, items in found.items() if items}
        present = _present(repo, {item for pairs in outputs.values() for _, item in pairs})
        ready = {name: pairs for name, pairs in outputs.items() if pairs and {item for _, item in pairs} <= present}
        contents = {pair for pairs in ready.values() for pair in pairs}
        for destination in {remote for remote, _ in contents}:
            _upload(repo, {item for remote, item in contents if remote == destination}, destination)
        sources = [str(Path(local.path) / RUNS / name) for name in ready]
        if sources:
            copy(local.fs, sources, remote.fs, [entry_path(remote, name) for name in ready])
        return len(ready)


def push_all(root: Path) -> str:
    """Upload results and run cache, and return a summary.

    Raises:
        NoRemote, RemoteFailed: nothing changed locally.
    """
    files, entries = push(root), push_run_cache(root)
    return f"{counted(files, 'file')} and {counted(entries, 'entry', 'entries')} of the run cache pushed"


def pull_run_cache(root: Path) -> int:
    """Download the run-cache entries that the local cache lacks, and return the number of new entries.

    Raises:
        NoRemote, RemoteFailed: the local run cache did not change.
    """
    require_remote(root)
    with (
        _open_repo(root) as repo,
        emptied_folder(folder := Path(repo.tmp_dir) / "inkflow-runs", folder.with_suffix(".lock")),
    ):
        if not can_have_run_cache(repo):
            return 0
        local, remote = run_caches(repo)
        known = entry_sizes(local)
        names = [name for name in entry_sizes(remote) if name not in known]
        paths = [folder / name for name in names]
        if names:
            copy(remote.fs, [entry_path(remote, name) for name in names], local.fs, [str(path) for path in paths])
        complete = [name for name, path in zip(names, paths, strict=True) if outputs_of(path) is not None]
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
        missing: dict[str, list[str]] = {}
        for (remote, _), outputs in _pushed_outputs(repo).items():
            for stage, path in _missing_in(repo, remote, outputs):
                missing.setdefault(stage, []).append(path)
        return missing


def _pushed_outputs(repo: Repo) -> dict[tuple[str | None, str], dict[tuple[str, str], HashInfo]]:
    """Hashes of the recorded outputs that DVC pushes, by stage and path, by their remote and the name of the hash."""
    groups: dict[tuple[str | None, str], dict[tuple[str, str], HashInfo]] = {}
    for stage in repo.index.stages:
        for out in stage.outs:
            is_pushed = out.use_cache and out.can_push and not stage.is_repo_import  # such data is in its repository
            if is_pushed and out.hash_info:
                group = groups.setdefault((out.remote, str(out.hash_info.name)), {})
                group[_address(stage), path_of(out)] = out.hash_info
    return groups


def _missing_in(repo: Repo, remote: str | None, outputs: Mapping[tuple[str, str], HashInfo]) -> list[tuple[str, str]]:
    """Those of `outputs`, which have one layout, that the remote lacks, wholly or in part."""
    if remote is None and not default_remote_of(repo)[0] and names_remote(repo):
        return list(outputs)  # no remote is theirs
    any_item = next(iter(outputs.values()))
    odb, cache = remote_of(repo, any_item, remote), cache_of(repo, any_item)
    contents = {key: [*folder_files(item, cache, odb), item] for key, item in outputs.items()}
    present = set(odb.oids_exist({item.value for files in contents.values() for item in files}))
    return [key for key, files in contents.items() if any(item.value not in present for item in files)]


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


def _paths_with_remote(repo: Repo) -> list[str] | None:
    """Absolute paths of the outputs that name a remote, if none is the default one; None if there is one, for all."""
    if default_remote_of(repo)[0]:
        return None
    return [str(out.fs_path) for out in repo.index.outs if out.use_cache and out.remote] or None


def _present(repo: Repo, items: set[HashInfo]) -> set[HashInfo]:
    """Those of `items` that are in the local cache, folders with all their files."""
    contents = {item: [*folder_files(item, cache_of(repo, item)), item] for item in items}
    exists: set[HashInfo] = set()
    for group in by_layout({content for files in contents.values() for content in files}):
        exists |= status(cache_of(repo, next(iter(group))), group)[0]
    return {item for item, files in contents.items() if set(files) <= exists}


def _upload(repo: Repo, items: set[HashInfo], remote: str | None) -> None:
    """Upload objects of the local cache, folders with all their files, to a remote, the default one if None."""
    contents = {content for item in items for content in [*folder_files(item, cache_of(repo, item)), item]}
    for group in by_layout(contents):
        any_item = next(iter(group))
        cache, odb = cache_of(repo, any_item), remote_of(repo, any_item, remote)
        result = transfer(cache, odb, group, cache_odb=cache)
        if result.failed:
            raise DvcException(f"{counted(len(result.failed), 'file')} could not be sent")


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
