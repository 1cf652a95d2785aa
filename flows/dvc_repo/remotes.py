"""DVC's remotes: sending results and the run cache there, and getting both from there.

    push            outputs that dvc.lock names
    push_run_cache  which inputs gave which outputs, and those outputs: an entry never comes before what it names
    pull_run_cache  the entries alone; what they name comes when a stage is restored (`fetch_result`)
    pull            outputs that dvc.lock names, into the workspace

What a remote's library raises becomes one sentence without credentials, and exit code 1. A transfer that failed leaves
what is here as it was, and may be repeated: what is there already is not sent again.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.config import ConfigError, NoRemoteError, RemoteConfigError
from dvc.exceptions import DvcException
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

from flows.core.errors import NoRemote, RemoteFailed, UnknownStage
from flows.core.file_lock import one_at_a_time
from flows.dvc_repo.dvc_facts import HASH, path_of
from flows.dvc_repo.remote_results import RUNS, RUNS_HASH, is_whole
from flows.dvc_repo.transfer_errors import LoggedErrors, reason
from stages.base.errors import InkflowError


def default_remote(root: Path) -> str | None:
    """Name of the project's default remote; None where there is none.

    Raises:
        InkflowError: DVC's configuration cannot be read.
    """
    try:
        with Repo(str(root)) as repo:
            name = repo.config["core"].get("remote")
            return str(name) if name else None
    except ConfigError as error:
        raise InkflowError(f"DVC's configuration cannot be read: {error}") from error


def need_remote(root: Path) -> None:
    """See that there is a default remote.

    Raises:
        NoRemote: there is none.
    """
    if default_remote(root) is None:
        raise NoRemote


def push(root: Path, targets: Sequence[str] = ()) -> int:
    """Send the outputs of `targets` (all when empty) as dvc.lock names them; how many files were sent.

    Raises:
        NoRemote, RemoteFailed, UnknownStage: nothing here was changed.
    """
    with _at_work(root) as repo:
        return int(_when_free(lambda: repo.push(targets=_paths(repo, targets))))


def pull(root: Path, targets: Sequence[str] = ()) -> int:
    """Bring the outputs of `targets` (all when empty) as dvc.lock names them; how many files were fetched.

    Raises:
        NoRemote, RemoteFailed, UnknownStage: what lies in the workspace was not changed.
    """
    with _at_work(root) as repo:
        result = _when_free(lambda: repo.pull(targets=_paths(repo, targets)))
        return int(result.get("stats", {}).get("fetched", 0))


def push_run_cache(root: Path) -> int:
    """Send the entries of the run cache that the remote lacks, after the outputs that they name; how many entries.

    An entry whose outputs are not here any more stays here.

    Raises:
        NoRemote, RemoteFailed: nothing here was changed.
    """
    with _at_work(root) as repo:
        here, there = _run_caches(repo)
        known = _entries(there)
        entries = {name: repo.cache.local for name, size in _entries(here).items() if known.get(name) != size}
        wanted = {name: _outputs(Path(here.path) / RUNS / name) for name in entries}
        present = _present(repo, {item for outputs in wanted.values() for item in outputs or ()})
        ready = [name for name, outputs in wanted.items() if outputs and set(outputs) <= present]
        _send(repo, {item for name in ready for item in wanted[name] or ()})
        sources = [str(Path(here.path) / RUNS / name) for name in ready]
        if sources:
            copy(here.fs, sources, there.fs, [there.fs.join(there.path, RUNS, *name.split("/")) for name in ready])
        return len(ready)


def push_all(root: Path) -> str:
    """Send results and run cache; what was sent, in words.

    Raises:
        NoRemote, RemoteFailed: nothing here was changed.
    """
    files, entries = push(root), push_run_cache(root)
    return f"{files} files and {entries} entries of the run cache pushed"


def pull_run_cache(root: Path) -> int:
    """Get the entries of the remote's run cache that are not here; how many.

    Raises:
        NoRemote, RemoteFailed: the run cache here is as it was.
    """
    with _at_work(root) as repo, tempfile.TemporaryDirectory(dir=repo.tmp_dir) as folder:
        here, there = _run_caches(repo)
        known = _entries(here)
        names = [name for name in _entries(there) if name not in known]
        fetched = [Path(folder) / name for name in names]
        if names:
            sources = [there.fs.join(there.path, RUNS, *name.split("/")) for name in names]
            copy(there.fs, sources, here.fs, [str(path) for path in fetched])
        whole = [name for name, path in zip(names, fetched, strict=True) if _outputs(path) is not None]
        with one_at_a_time(Path(here.path) / "inkflow.lock"):  # a reader takes whatever lies there for an entry
            for name in whole:
                target = Path(here.path) / RUNS / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(folder) / name, target)
        return len(whole)


def fetch_result(repo: Repo, stage: DvcStage) -> bool:
    """Get into the cache what the run cache names for the present inputs of `stage`; False when it cannot be had.

    For a stage that runs otherwise: a remote that fails now costs the time of running it, and no more.
    """
    try:
        with _in_words(repo):
            repo.stage_cache.restore(stage, pull=True)
    except InkflowError:
        return False
    return True


def missing_in_remote(root: Path) -> dict[str, list[str]]:
    """Outputs in dvc.lock that the remote has not, whole or in part, by stage; the cache here does not count.

    Raises:
        NoRemote, RemoteFailed: the remote cannot be asked.
    """
    with _at_work(root) as repo:
        odb = repo.cloud.get_remote_odb(command="status")
        outputs = {
            (_address(stage), path_of(out)): HashInfo(HASH, out.hash_info.value)
            for stage in repo.index.stages
            for out in stage.outs
            if out.use_cache and out.hash_info
        }
        contents = {key: [*_inside(repo, odb, item), item] for key, item in outputs.items()}
        there = set(odb.oids_exist({item.value for items in contents.values() for item in items}))
        missing: dict[str, list[str]] = {}
        for (stage, path), items in contents.items():
            if any(item.value not in there for item in items):
                missing.setdefault(stage, []).append(path)
        return missing


def _address(stage: DvcStage) -> str:
    """DVC's address of a stage as it is in the project's folder, wherever the current folder is."""
    file = str(Path(stage.path).relative_to(stage.repo.root_dir))
    if not stage.is_data_source and file == "dvc.yaml":
        return str(stage.name)
    return f"{file}:{stage.name}" if getattr(stage, "name", None) else file


def _paths(repo: Repo, targets: Sequence[str]) -> list[str] | None:
    """The outputs that stages, groups or paths in the project name; DVC would look from the current folder on."""
    outputs = [(_address(stage), path_of(out)) for stage in repo.index.stages for out in stage.outs if out.use_cache]
    found = []
    for target in targets:
        named = [path for stage, path in outputs if target in (stage, stage.partition("@")[0], path)]
        if not named and not any(target.startswith(f"{path}/") for _, path in outputs):
            raise UnknownStage(target, list(dict.fromkeys(stage for stage, _ in outputs)))
        found += named or [target]
    return [str(Path(repo.root_dir) / path) for path in found] or None


def _inside(repo: Repo, odb: Any, item: HashInfo) -> list[HashInfo]:
    """What a folder holds, as the remote or the cache here knows it."""
    if not item.isdir:
        return []
    for source in (repo.cache.local, odb):
        try:
            return [content for _, _, content in Tree.load(source, item)]
        except FileNotFoundError:
            continue
    return []


def _run_caches(repo: Repo) -> tuple[Any, Any]:
    """Where the run cache lies here, and where in the remote."""
    return repo.cache.legacy, repo.cloud.get_remote_odb(command="push --run-cache", hash_name=RUNS_HASH)


def _entries(odb: Any) -> dict[str, int]:
    """The entries of a run cache, each with its size."""
    runs = odb.fs.join(odb.path, RUNS)
    if isinstance(odb.fs, LocalFileSystem):
        files = [path for path in Path(runs).glob("??/*/*") if path.is_file()]
        return {path.relative_to(runs).as_posix(): path.stat().st_size for path in files}
    if not odb.fs.exists(runs):
        if isinstance(odb.fs, ObjectFileSystem):
            odb.fs.fs.ls(odb.path.partition("/")[0])  # raises where there is no such bucket
        return {}
    found = odb.fs.fs.find(runs, detail=True)
    return {odb.fs.relpath(odb.fs.join(path), runs): int(info["size"]) for path, info in found.items()}


def _outputs(entry: Path) -> list[HashInfo] | None:
    """What a file of the run cache names; None when it is no entry: a killed sender may leave half of one."""
    return [HashInfo(HASH, out[HASH]) for out in load_yaml(str(entry))["outs"]] if is_whole(entry) else None


def _present(repo: Repo, items: set[HashInfo]) -> set[HashInfo]:
    """Those of `items` that are in the cache here, folders with all that they hold."""
    cache = repo.cache.local
    contents = {item: [*_inside(repo, cache, item), item] for item in items}
    exists, _ = status(cache, {content for found in contents.values() for content in found})
    return {item for item, found in contents.items() if set(found) <= exists}


def _send(repo: Repo, items: set[HashInfo]) -> None:
    """Send contents that are here, folders with all that they hold."""
    cache, odb = repo.cache.local, repo.cloud.get_remote_odb(command="push")
    whole = {content for item in items for content in [*_inside(repo, cache, item), item]}
    if whole:
        sent = transfer(cache, odb, whole, cache_odb=cache)
        if sent.failed:
            raise DvcException(f"{len(sent.failed)} files could not be sent")


def _when_free(work: Any) -> Any:
    """What `work` gives; another process's turn is waited for."""
    while True:
        try:
            return work()
        except LockError:
            continue  # DVC itself waits three seconds before it says so


@contextmanager
def _at_work(root: Path) -> Iterator[Repo]:
    with Repo(str(root)) as repo, _in_words(repo):
        yield repo


@contextmanager
def _in_words(repo: Repo) -> Iterator[None]:
    """Give what goes wrong as an error of ours; DVC counts the files that failed and logs why."""
    said = LoggedErrors()
    try:
        with said.listening():
            yield
    except InkflowError:
        raise
    except NoRemoteError as error:
        raise NoRemote from error
    except Exception as error:  # each kind of remote has a library with errors of its own
        name = str(repo.config["core"].get("remote"))
        url = str(repo.config["remote"].get(name, {}).get("url", ""))
        cause = error if isinstance(error, RemoteConfigError) else (said.errors or [error])[0]
        raise RemoteFailed(name, url, reason(cause)) from error
