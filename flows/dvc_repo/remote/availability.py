"""Tells which contents can be restored: those in DVC's local cache and, with `pull`, those in its remotes."""

from collections.abc import Iterator
from typing import Any

from dvc.config import NoRemoteError
from dvc.repo import Repo
from dvc_data.hashfile import check, load
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.dvc_repo.change_detection import value_of
from flows.dvc_repo.damaged_objects import find_damaged
from flows.dvc_repo.remote.layouts import cache_of, remote_of
from flows.dvc_repo.remote.results import remote_failed


class Availability:
    """Looks up contents by their hash in the local cache; with `pull`, also in the remote of their output."""

    def __init__(self, repo: Repo, *, pull: bool) -> None:
        self._repo = repo
        self._pull = pull

    def has(self, info: HashInfo, remote: str | None) -> bool:
        """Return True if the content with this hash can be restored; for a folder, with all its files.

        Args:
            info: the hash.
            remote: name of the remote of its output; None for the default one.

        Raises:
            RemoteFailed: the remote cannot be used.
        """
        cache = cache_of(self._repo, info)
        try:
            check(cache, load(cache, info))
        except (FileNotFoundError, ObjectFormatError):
            return self._pull and self._is_in_remote(info, remote)
        return not find_damaged(cache, [value_of(info)]) or (self._pull and self._is_in_remote(info, remote))

    def folder_files(self, info: HashInfo, remote: str | None) -> Iterator[tuple[tuple[str, ...], Any, HashInfo]]:
        """Yield path, metadata and hash of each file in the folder with this hash.

        Raises:
            FileNotFoundError: the folder's list of files is not available.
        """
        try:
            yield from Tree.load(cache_of(self._repo, info), info)
        except FileNotFoundError:
            if not self._pull:
                raise
            try:
                odb = remote_of(self._repo, info, remote)
            except NoRemoteError as error:
                raise FileNotFoundError(value_of(info)) from error
            yield from Tree.load(odb, info)

    def _is_in_remote(self, info: HashInfo, remote: str | None) -> bool:
        """True when the remote has those objects of the content with this hash that the local cache lacks."""
        value = value_of(info)
        try:
            odb, cache = remote_of(self._repo, info, remote), cache_of(self._repo, info)
            files = [value_of(item) for _, _, item in self.folder_files(info, remote)] if info.isdir else []
            present = set(cache.oids_exist([value, *files])) - set(find_damaged(cache, [value]))
            missing = {value, *files} - present
            return missing <= set(odb.oids_exist(list(missing)))
        except (FileNotFoundError, NoRemoteError):  # without a default remote, such an output is in none
            return False
        except Exception as error:  # each kind of remote has a library with its own errors
            raise remote_failed(self._repo, error) from error
