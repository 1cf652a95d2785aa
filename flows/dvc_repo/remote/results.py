"""Transfers single results to and from the default DVC remote, for stages that run on other machines.

`dvc push --run-cache` and `dvc pull --run-cache` process the whole cache; here only the objects of one stage are
transferred, by hash and by run-cache key. While the remote is unreachable, transfers are retried; an error that stays
is reported with the remote's own message.
"""

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import Any, TypeVar

from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils import dict_sha256
from dvc.utils.serialize import load_yaml, parse_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.core.errors import Interrupted, NoRemote, RemoteFailed, TransferFailed
from flows.core.file_lock import exclusive_lock
from flows.core.notices import note_once
from flows.core.values import counted
from flows.dvc_repo.change_detection import HASH, value_of
from flows.dvc_repo.damaged_objects import set_damaged_aside
from flows.dvc_repo.dvc_errors import ErrorCollector, describe_error
from flows.dvc_repo.locking import print_to_stderr
from flows.dvc_repo.remote.layouts import DVC_2_HASH, by_layout, cache_of, entry_hash
from stages.base.shown_text import shown_url

RUNS = "runs"  # DVC's folder for the run cache, in caches and in remotes
DIGEST_LENGTH = 64  # of SHA-256 in hex, the name of an entry
RUNS_HASH = DVC_2_HASH  # of the object database that holds the run cache
FIRST_DELAY_S, MAX_DELAY_S = 0.5, 8.0
PLACE = ("url", "endpointurl", "account_name")  # settings of a remote that say where it is
PERMANENT = ("No space left", "Disk quota", "Permission denied", "Access Denied", "AccessDenied", "NoSuchBucket")
T = TypeVar("T")

_transfer_errors = ErrorCollector()  # of the one transfer of this process that holds the lock
_transfer_lock = threading.Lock()  # DVC's threads log the errors: a log record does not tell whose transfer it is of


class Remote:
    """The default remote of a DVC repository. Calls come from many threads; one transfer runs at a time."""

    def __init__(self, repo: Repo, wait_s: float, stop_event: threading.Event) -> None:
        self._repo = repo
        self._wait_s = wait_s  # for which transfers are retried while the remote is unreachable
        self._stop_event = stop_event  # ends the retries
        self._lock = threading.RLock()
        self._pushed: set[tuple[str | None, HashInfo]] = set()  # so that many stages that read one folder push it once

    def ensure_configured(self, stage: str) -> None:
        """Raise NoRemote unless a default remote is configured."""
        try:
            self._repo.cloud.get_remote()
        except NoRemoteError as error:
            raise NoRemote(stage) from error
        except DvcException as error:
            raise TransferFailed(stage, "be used", describe_error(error)) from error

    def folders(self) -> dict[str, str]:
        """Return name and path of a default remote that is a folder; other remotes' URLs are in the project."""
        name, url = default_remote_of(self._repo)
        return {name: url} if url and "://" not in url else {}

    def push(self, stage: str, hashes: Collection[HashInfo], name: str | None = None) -> None:
        """Push the objects with these hashes, and the files of folders among them, to the remote with this name.

        Args:
            stage: the stage, for messages.
            hashes: the hashes.
            name: the name of the remote; None for the default one.
        """
        with self._lock:
            missing = {item for item in hashes if (name, item) not in self._pushed}
            if missing:
                operation = "store the stage's data"
                try:
                    objects = missing | self._files_of_folders(missing)
                except (FileNotFoundError, ObjectFormatError) as error:
                    raise TransferFailed(stage, operation, f"the local cache lacks {error}") from error
                push = partial(self._repo.cloud.push, objects, remote=name)
                self._retry(stage, operation, lambda: _raise_for_failures(push()))
                self._pushed |= {(name, item) for item in missing}

    def pull(self, stage: str, hashes: Collection[str]) -> None:
        """Pull the objects with these hashes into the cache, and the files of folders among them.

        Raises:
            TransferFailed: the remote cannot be used, or lacks an object.
        """
        if not self.fetch(stage, {HashInfo(HASH, value) for value in hashes}):
            raise TransferFailed(stage, "provide the stage's data", "some of it is no longer there")

    def fetch_tracked(self, stage: str) -> None:
        """Fetch the outputs of a stage as `dvc fetch` does: also from an imported repository, and in DVC 2's layout.

        Raises:
            TransferFailed: an object could not be fetched.
        """
        fetch = unwrap(Repo.fetch)  # the caller holds DVC's lock
        with self._lock:
            self._retry(stage, "provide the stage's data", lambda: fetch(self._repo, targets=[stage]))

    def push_run(self, stage: str, key: str) -> None:
        """Push the outputs and then the entries that the run cache has for `key`."""
        folder = run_cache_folder(self._repo, key)
        entries = {path.name: load_yaml(str(path)) for path in folder.iterdir() if is_complete_entry(path)}
        self.push(stage, [entry_hash(out) for entry in entries.values() for out in entry["outs"]])
        with self._lock:
            for name in entries:
                self._retry(stage, "store the result", partial(self._put_entry, key, folder / name))

    def fetch_run(self, stage: str, key: str) -> bool:
        """Pull the newest result for `key`, entry and outputs, into the cache.

        Returns:
            False if the remote has no entry for `key`, or lacks an output.
        """
        with self._lock:
            name = self._retry(stage, "look up earlier results", lambda: self._get_entry(key))
        if name is None:
            return False
        entry = load_yaml(str(run_cache_folder(self._repo, key) / name))
        return self.fetch(stage, [entry_hash(out) for out in entry["outs"]])

    def fetch(self, stage: str, hashes: Collection[HashInfo], name: str | None = None) -> bool:
        """Pull objects like `pull`; False if the remote lacks one, or has it damaged: DVC raises no error for that."""
        with self._lock:
            objects = set(hashes)
            self._pull_objects(stage, objects, name)
            try:
                files = self._files_of_folders(objects)
            except (FileNotFoundError, ObjectFormatError):
                return False
            if files:  # those of a folder whose list was damaged were not known before
                self._pull_objects(stage, files, name)
            return all(cache_of(self._repo, item).exists(item.value) for item in objects | files)

    def _pull_objects(self, stage: str, objects: set[HashInfo], name: str | None) -> None:
        for group in by_layout(objects):
            cache = cache_of(self._repo, next(iter(group)))
            set_damaged_aside(self._repo, cache, [value_of(item) for item in group], print_to_stderr)
        pull = partial(self._repo.cloud.pull, objects, remote=name)
        self._retry(stage, "provide the stage's data", lambda: _raise_for_failures(pull()))

    def _files_of_folders(self, objects: Collection[HashInfo]) -> set[HashInfo]:
        """Hashes of the files in those of `objects` that are folders and in the cache."""
        folders = [item for item in objects if item.isdir]
        return {file for item in folders for _, _, file in Tree.load(cache_of(self._repo, item), item)}

    def _put_entry(self, key: str, entry: Path) -> None:
        fs, folder = self._remote_run_folder(key)
        fs.makedirs(folder, exist_ok=True)
        fs.put_file(str(entry), fs.join(folder, entry.name))

    def _get_entry(self, key: str) -> str | None:
        """Download the newest complete entry for `key`, and return its name."""
        fs, folder = self._remote_run_folder(key)
        if not fs.exists(folder):
            return None
        for path in sorted(fs.find(folder), key=lambda path: _mtime(fs, path), reverse=True):
            name, content = str(fs.name(path)), fs.cat_file(path)
            if _is_complete(content, name):
                store_entry(self._repo, f"{key[:2]}/{key}/{name}", content)
                return name
        return None

    def _remote_run_folder(self, key: str) -> tuple[Any, str]:
        """File system of the remote, and its folder of the run-cache entries for `key`."""
        odb = self._repo.cloud.get_remote_odb(hash_name=RUNS_HASH)
        return odb.fs, odb.fs.join(odb.path, RUNS, key[:2], key)

    def _retry(self, stage: str, operation: str, action: Callable[[], T]) -> T:
        """Run `action`, again while it fails and `wait_s` has not passed; return its result."""
        end, delay_s = time.monotonic() + self._wait_s, FIRST_DELAY_S
        while True:
            try:
                with _transfer_lock:
                    _transfer_errors.errors.clear()
                    _transfer_errors.attach_to_transfers()
                    return action()
            except Exception as error:  # each kind of remote has a library with its own errors
                cause = describe_error(error)
                is_permanent = any(text in cause for text in PERMANENT)
                if is_permanent or time.monotonic() + delay_s > end:
                    raise TransferFailed(stage, operation, cause) from error
            if self._stop_event.wait(delay_s):
                raise Interrupted(stage)
            delay_s = min(2 * delay_s, MAX_DELAY_S)


def default_remote_of(repo: Repo) -> tuple[str, str]:
    """Return the name and URL of the default remote; both are empty if none is configured."""
    name = str(repo.config["core"].get("remote") or "")
    return name, str(repo.config["remote"].get(name, {}).get("url", ""))


def remote_digest(repo: Repo) -> str:
    """Return a digest of the default remote's place: equal for all projects and users with that remote."""
    settings = repo.config["remote"].get(default_remote_of(repo)[0], {})
    place = {key: str(settings[key]) for key in PLACE if key in settings}
    return str(dict_sha256({key: shown_url(text) if "://" in text else text for key, text in place.items()}))


def verify_downloads(repo: Repo) -> None:
    """Make DVC verify the hashes of downloaded objects, as its setting `verify` of a remote does."""
    for remote in repo.config["remote"].values():
        remote["verify"] = True


def remote_failed(repo: Repo, error: BaseException) -> RemoteFailed:
    """Return the error to raise when the default remote's library raised `error`."""
    return RemoteFailed(*default_remote_of(repo), describe_error(error))


def run_cache_folder(repo: Repo, key: str) -> Path:
    """Return the local folder of the run-cache entries for `key`."""
    return Path(repo.stage_cache.cache_dir) / key[:2] / key


def is_complete_entry(path: Path) -> bool:
    """True for a run-cache entry that is not truncated: its name is the digest of its content."""
    return _is_complete(path.read_bytes(), path.name)


def remove_damaged_entries(folder: Path) -> None:
    """Remove the run-cache entries in `folder` that are damaged or cut short, and name them: DVC would read them.

    Files that DVC is writing have other names.
    """
    for path in folder.glob("?" * DIGEST_LENGTH):
        if not is_complete_entry(path):
            note_once(f"{path} in DVC's run cache was damaged, and is removed")
            path.unlink(missing_ok=True)


def _is_complete(content: bytes, name: str) -> bool:
    with suppress(DvcException, ValueError, AttributeError):
        return bool(dict_sha256(parse_yaml(content.decode(), name), exclude=["size", "nfiles"]) == name)
    return False


def store_entry(repo: Repo, name: str, content: bytes) -> None:
    """Write an entry into the local run cache, as its newest one; `name` is its path below `runs`.

    DVC would restore from a part of it, so it is written outside `runs`, and under one name: the next call replaces
    what a killed process left.

    Raises:
        OSError: the cache cannot be written.
    """
    cache = Path(repo.cache.legacy.path)
    target, temporary = cache / RUNS / name, cache / "inkflow-entry"
    repo.cache.legacy.makedirs(str(target.parent))  # writable by the group with `cache.shared = group`
    with exclusive_lock(temporary.with_suffix(".lock")):  # held for one small file: others may be held around it
        temporary.unlink(missing_ok=True)  # of another user perhaps, who cannot write into that file
        temporary.write_bytes(content)
        temporary.replace(target)


def _raise_for_failures(result: Any) -> None:
    """Raise DvcException if a transfer failed for some files."""
    if result.failed:
        errors = _transfer_errors.errors
        cause = describe_error(errors[0]) if errors else "not all files could be transferred"
        raise DvcException(f"{counted(len(result.failed), 'file')}: {cause}")


def _mtime(fs: Any, path: str) -> float:
    """Modification time of a file in the remote; 0 if the remote does not report it."""
    info = fs.info(path)
    mtime = info.get("mtime") or info.get("LastModified") or 0.0
    return float(mtime.timestamp() if hasattr(mtime, "timestamp") else mtime)
