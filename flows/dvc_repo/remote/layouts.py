"""DVC's two layouts of caches and remotes: that of DVC 3, and that of DVC 2, whose hash of a text has another name.

A run-cache entry, a dvc.lock or a .dvc file that DVC 2 wrote has no name of the hash. The objects are then in `ab/cdef`
in place of `files/md5/ab/cdef`. DVC 3 goes on to read them there, until the content changes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree

from flows.dvc_repo.change_detection import HASH
from flows.dvc_repo.lock.contents import Content

DVC_2_HASH = "md5-dos2unix"  # DVC's name for the MD5 of a content whose line ends, in a text, are those of Unix


def cache_of(repo: Repo, item: HashInfo) -> Any:
    """Return the local cache that has the object with this hash."""
    return repo.cache.legacy if item.name == DVC_2_HASH else repo.cache.local


def remote_of(repo: Repo, item: HashInfo, name: str | None) -> Any:
    """Return the object database for the object with this hash in the remote `name`; None: the default remote.

    Raises:
        NoRemoteError: there is no default remote.
    """
    return repo.cloud.get_remote_odb(name, "status", hash_name=DVC_2_HASH if item.name == DVC_2_HASH else HASH)


def by_layout(items: Iterable[HashInfo]) -> list[set[HashInfo]]:
    """Return `items` in at most two sets, one for each layout."""
    groups: dict[bool, set[HashInfo]] = {}
    for item in items:
        groups.setdefault(item.name == DVC_2_HASH, set()).add(item)
    return list(groups.values())


def folder_files(item: HashInfo, *stores: Any) -> list[HashInfo]:
    """Return the hashes of the files in a folder, from the first store that has its list; none for a file."""
    if not item.isdir:
        return []
    for store in stores:
        try:
            return [content for _, _, content in Tree.load(store, item)]
        except FileNotFoundError:
            continue
    return []


def entry_hash(entry: Mapping[str, Any]) -> HashInfo:
    """Return the hash of an output in a run-cache entry."""
    return HashInfo(HASH if "hash" in entry else DVC_2_HASH, str(entry[HASH]))


def entry_content(entry: Mapping[str, Any]) -> Content:
    """Return the content of an output in a run-cache entry."""
    return Content(entry_hash(entry), bool(entry.get(Meta.PARAM_ISEXEC)))


def entry_output(path: str, content: Content) -> dict[str, Any]:
    """Return an output as a run-cache entry has it."""
    name = {} if content.info.name == DVC_2_HASH else {"hash": HASH}
    bit = {Meta.PARAM_ISEXEC: True} if content.is_executable else {}
    return {"path": path, **name, HASH: str(content.info.value), **bit}
