"""A DVC remote, as stages that run on other machines need it: single results, by hash and by key of the run cache.

`dvc push --run-cache` and its like go through all that there is; here only what belongs to one stage is moved.
An outage is waited out; what stays wrong is said with the remote's own words.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils import dict_sha256
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.core.errors import Interrupted, NoRemote, RemoteUnusable
from flows.dvc_repo.dvc_facts import HASH
from flows.dvc_repo.transfer_errors import LoggedErrors, reason

RUNS = "runs"  # DVC's folder for the run cache, in caches and in remotes
RUNS_HASH = "md5-dos2unix"  # where DVC itself keeps it
FIRST_DELAY_S, LAST_DELAY_S = 0.5, 8.0
HOPELESS = ("No space left", "Disk quota", "Permission denied", "Access Denied", "AccessDenied", "NoSuchBucket")
T = TypeVar("T")

_said = LoggedErrors()  # of one transfer at a time


class Remote:
    """The default remote of a DVC repository. One transfer at a time; calls come from many threads."""

    def __init__(self, repo: Repo, patience_s: float, ended: threading.Event) -> None:
        self._repo = repo
        self._patience_s = patience_s
        self._ended = ended  # nothing is waited for any more
        self._one_at_a_time = threading.RLock()
        self._pushed: set[str] = set()  # in this run, so that thirty readers of one folder ask for it once

    def ensure_named(self, stage: str) -> None:
        """Raise NoRemote unless a default remote is configured."""
        try:
            self._repo.cloud.get_remote()
        except NoRemoteError as error:
            raise NoRemote(stage) from error
        except DvcException as error:
            raise RemoteUnusable(stage, "be used", reason(error)) from error

    def folders(self) -> dict[str, str]:
        """Path of the default remote by its name, where it is a folder; else nothing: its address is in the project."""
        name = self._repo.config["core"].get("remote", "")
        url = str(self._repo.config["remote"].get(name, {}).get("url", ""))
        return {name: url} if url and "://" not in url else {}

    def push(self, stage: str, hashes: Collection[str]) -> None:
        """Bring what has these hashes from the cache to the remote."""
        with self._one_at_a_time:
            missing = set(hashes) - self._pushed
            if missing:
                try:
                    objects = _named(missing) | self._inside(missing)
                except (FileNotFoundError, ObjectFormatError) as error:
                    raise RemoteUnusable(stage, "take what the stage needs", f"the cache here lacks {error}") from error
                self._patiently(stage, "take what the stage needs", lambda: _all(self._repo.cloud.push(objects)))
                self._pushed |= missing

    def pull(self, stage: str, hashes: Collection[str]) -> None:
        """Bring what has these hashes from the remote into the cache."""
        if not self._bring(stage, hashes):
            raise RemoteUnusable(stage, "give what the stage needs", "it does not have all of it any more")

    def _bring(self, stage: str, hashes: Collection[str]) -> bool:
        """The same; false where the remote has not all of it, as after `dvc gc --cloud`, of which DVC says nothing."""
        with self._one_at_a_time:
            wanted = _named(hashes)
            self._patiently(stage, "give what the stage needs", lambda: _all(self._repo.cloud.pull(wanted)))
            try:
                files = self._inside(hashes)
            except (FileNotFoundError, ObjectFormatError):
                return False
            if files:
                self._patiently(stage, "give what the stage needs", lambda: _all(self._repo.cloud.pull(files)))
            return all(self._repo.cache.local.exists(item.value) for item in wanted | files)

    def push_run(self, stage: str, key: str) -> None:
        """Bring the outputs and then the entries that the run cache has for `key` to the remote."""
        folder = self._folder_of(key)
        entries = {path.name: load_yaml(str(path)) for path in folder.iterdir() if is_whole(path)}
        self.push(stage, [value for entry in entries.values() for value in _outputs(entry)])
        with self._one_at_a_time:
            for name in entries:
                self._patiently(stage, "take the result", partial(self._put_entry, key, folder / name))

    def fetch_run(self, stage: str, key: str) -> bool:
        """Bring the newest result for `key`, entry and outputs, into the cache; false where the remote lacks any."""
        with self._one_at_a_time:
            name = self._patiently(stage, "be asked for earlier results", lambda: self._get_entry(key))
        if name is None:
            return False
        return self._bring(stage, list(_outputs(load_yaml(str(self._folder_of(key) / name)))))

    def _inside(self, hashes: Collection[str]) -> set[HashInfo]:
        """The files of those that are folders, which lie in the cache."""
        folders = [value for value in hashes if value.endswith(".dir")]
        cache = self._repo.cache.local
        return {file for value in folders for _, _, file in Tree.load(cache, HashInfo(HASH, value))}

    def _put_entry(self, key: str, entry: Path) -> None:
        odb = self._repo.cloud.get_remote_odb(hash_name=RUNS_HASH)
        folder = odb.fs.join(odb.path, RUNS, key[:2], key)
        odb.fs.makedirs(folder, exist_ok=True)
        odb.fs.put_file(str(entry), odb.fs.join(folder, entry.name))

    def _get_entry(self, key: str) -> str | None:
        """Fetch the newest entry for `key` that is whole; its name."""
        odb = self._repo.cloud.get_remote_odb(hash_name=RUNS_HASH)
        folder = odb.fs.join(odb.path, RUNS, key[:2], key)
        if not odb.fs.exists(folder):
            return None
        here = self._folder_of(key)
        here.mkdir(parents=True, exist_ok=True)
        for path in sorted(odb.fs.find(folder), key=lambda path: _time_of(odb.fs, path), reverse=True):
            name = odb.fs.name(path)
            temporary = here / f".{name}.{threading.get_ident()}"
            odb.fs.get_file(path, str(temporary))
            if is_whole(temporary, name):
                temporary.replace(here / name)  # the newest here too: that is what DVC restores
                (here / name).touch()
                return str(name)
            temporary.unlink()
        return None

    def _folder_of(self, key: str) -> Path:
        return Path(self._repo.stage_cache.cache_dir) / key[:2] / key

    def _patiently(self, stage: str, what: str, act: Callable[[], T]) -> T:
        """Do it, again and again while the remote cannot be reached, as long as patience lasts."""
        end, delay_s = time.monotonic() + self._patience_s, FIRST_DELAY_S
        while True:
            _said.errors.clear()
            _said.hear_transfers()
            try:
                return act()
            except Exception as error:  # the libraries of remotes have no class of errors in common
                cause = reason(error)
                hopeless = any(sign in cause for sign in HOPELESS)
                if hopeless or time.monotonic() + delay_s > end:
                    raise RemoteUnusable(stage, what, cause) from error
            if self._ended.wait(delay_s):
                raise Interrupted(stage)
            delay_s = min(2 * delay_s, LAST_DELAY_S)


def _named(hashes: Collection[str]) -> set[HashInfo]:
    return {HashInfo(HASH, value) for value in hashes}


def _all(result: Any) -> None:
    """Raise unless everything was transferred."""
    if result.failed:
        cause = reason(_said.errors[0]) if _said.errors else "not everything could be transferred"
        raise DvcException(f"{len(result.failed)} files: {cause}")


def _outputs(entry: Mapping[str, Any]) -> list[str]:
    return [str(out[HASH]) for out in entry["outs"]]


def is_whole(path: Path, name: str | None = None) -> bool:
    """True for an entry of the run cache that is not cut off: its name is the digest of its content."""
    with suppress(DvcException, ValueError, AttributeError):
        return bool(dict_sha256(load_yaml(str(path)), exclude=["size", "nfiles"]) == (name or path.name))
    return False


def _time_of(fs: Any, path: str) -> float:
    """When a file of the remote was written, as far as it tells."""
    info = fs.info(path)
    written = info.get("mtime") or info.get("LastModified") or 0.0
    return float(written.timestamp() if hasattr(written, "timestamp") else written)
