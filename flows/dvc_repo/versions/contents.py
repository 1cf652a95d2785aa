"""Contents of outputs by their hash: from DVC's cache or remote, or from files with that hash; laid out as links."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.build import build
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.core.errors import Interrupted, TransferFailed
from flows.dvc_repo.change_detection import HASH, value_of
from flows.dvc_repo.damaged_objects import find_damaged
from flows.dvc_repo.opening import open_repo
from flows.dvc_repo.remote.layouts import DVC_2_HASH
from flows.dvc_repo.remote.results import Remote, default_remote_of, verify_downloads
from stages.base.digests import file_md5

Read = Callable[[str], bytes | None]
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")  # anything else that a dvc.lock has would be a path out of the cache


class Contents:
    """Finds contents by their hash. A content with another hash than it should have is never used."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._caches = {HASH: repo.cache.local, DVC_2_HASH: repo.cache.legacy}  # dvc.lock's text does not tell which
        self.remote_problem = ""  # why the remote gave nothing; empty if it was not needed, or gave all

    @property
    def cache_folder(self) -> Path:
        """The folder of the local cache."""
        return Path(self._repo.cache.local_cache_dir)

    def fetch(self, digests: Iterable[str]) -> None:
        """Fetches the contents that the cache lacks, or has damaged, from the default remote, if there is one."""
        known = [digest for digest in dict.fromkeys(digests) if MD5.fullmatch(digest)]
        if not default_remote_of(self._repo)[0]:
            return
        remote = Remote(self._repo, 0.0, threading.Event())
        for name in self._caches:
            missing = [digest for digest in known if self._cached(digest) is None]
            files = [digest for digest in missing if not digest.endswith(".dir")]
            for group in [files, *([digest] for digest in missing if digest.endswith(".dir"))]:
                try:
                    if group:
                        remote.fetch("verify", [HashInfo(name, digest) for digest in group])
                except (TransferFailed, Interrupted) as error:
                    self.remote_problem = str(error)

    def lay_out(self, digest: str, target: Path, folder: Path | None, path: str, read: Read) -> str:
        """Links or writes the content with this hash to `target`.

        Args:
            digest: the hash, as in dvc.lock.
            target: where to, a path that does not exist.
            folder: a project's folder on this machine that may have the content at `path`; None without one.
            path: the output's path below its project.
            read: reads a file of the version, such as one that git keeps.

        Returns:
            An empty text, or why the content is not available.
        """
        if not MD5.fullmatch(digest):
            return "dvc.lock has no MD5 hash of it" if not digest else f"{digest[:80]!r} is no MD5 hash"
        target.parent.mkdir(parents=True, exist_ok=True)
        if info := self._cached(digest):
            return self._link_object(info, target)
        own = folder / path if folder else None
        if own is not None and self._has_hash(own, digest):
            target.symlink_to(own.resolve())
            return ""
        content = None if digest.endswith(".dir") else read(path)
        if content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() == digest:
            target.write_bytes(content)
            return ""
        if any(find_damaged(cache, [digest]) for cache in self._caches.values()):
            return "its object in DVC's cache is damaged"
        return "neither the cache nor the remote has it" + (f" ({self.remote_problem})" if self.remote_problem else "")

    def _cached(self, digest: str) -> HashInfo | None:
        """Returns the hash with the name of the cache's layout that has the content; None if none has it undamaged.

        The content of a folder is its list with all its files.
        """
        infos = (HashInfo(name, digest) for name in self._caches)
        return next((info for info in infos if self._has(info)), None)

    def _has(self, info: HashInfo) -> bool:
        cache, digest = self._caches[str(info.name)], value_of(info)
        try:
            files = [value_of(item) for _, _, item in Tree.load(cache, info)] if info.isdir else []
            return all(Path(cache.oid_to_path(value)).is_file() for value in [digest, *files]) and not find_damaged(
                cache, [digest]
            )
        except (FileNotFoundError, ObjectFormatError, ValueError):
            return False

    def _link_object(self, info: HashInfo, target: Path) -> str:
        cache = self._caches[str(info.name)]
        if not info.isdir:
            target.symlink_to(Path(cache.oid_to_path(value_of(info))).resolve())
            return ""
        target.mkdir()
        for key, _, item in Tree.load(cache, info):
            name = PurePosixPath(*key)
            if name.is_absolute() or ".." in name.parts:
                return f"its list of files names {name}, outside of the folder"
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(Path(cache.oid_to_path(value_of(item))).resolve())
        return ""

    def _has_hash(self, path: Path, digest: str) -> bool:
        """True if the file or folder `path` has this hash."""
        try:
            if path.is_file() and not digest.endswith(".dir"):
                return file_md5(path) == digest
            if path.is_dir() and digest.endswith(".dir"):
                built: Any = build(self._caches[HASH], str(path), self._repo.fs, HASH, dry_run=True)[2]
                return value_of(built.hash_info) == digest
        except (OSError, DvcException):
            return False
        return False


@contextmanager
def open_contents(root: Path) -> Iterator[Contents]:
    """Yields the contents that the cache and the remote of the project in `root` have.

    Raises:
        PipelineInvalid: DVC cannot open the project.
    """
    with open_repo(root) as repo:
        verify_downloads(repo)
        yield Contents(repo)
