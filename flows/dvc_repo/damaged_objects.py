"""Finds damaged objects in DVC's cache by their hashes, and moves them aside: DVC trusts a read-only object's name.

A hash comes from DVC's own state database if the file still has the time, inode and size with which it was hashed, so
that a large file is hashed once.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.hash import hash_file
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from flows.core.errors import DvcFailed
from flows.core.file_lock import exclusive_lock
from flows.dvc_repo.change_detection import value_of
from flows.dvc_repo.locking import cache_lock_path

FOLDER = "damaged"  # in the cache; names of DVC's own folders have two characters


@cache
def report_damaged_lists() -> None:
    """Let DVC raise its own error for a damaged list of a folder's files: such a list counts as missing.

    If the text is JSON still, as after a flipped bit in the name of a key, DVC raises a KeyError or the like instead.
    """
    original = Tree.from_list

    def from_list(_: type[Tree], entries: list[dict[str, Any]], hash_name: str | None = None) -> Tree:
        try:
            tree: Tree = original(entries, hash_name=hash_name)
            return tree
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ObjectFormatError(f"a list of files in the cache is damaged: {error}") from error

    Tree.from_list = classmethod(from_list)  # type: ignore[assignment]


def find_damaged(odb: Any, values: Collection[str]) -> list[str]:
    """Return those of `values` whose objects in the cache have other contents, files of folders included."""
    damaged = _with_other_contents(odb, set(values))
    files: set[str] = set()
    for value in values:
        if value.endswith(".dir") and value not in damaged:
            with suppress(FileNotFoundError, ObjectFormatError):
                files |= {value_of(item) for _, _, item in Tree.load(odb, HashInfo(odb.hash_name, value))}
    return damaged + _with_other_contents(odb, files - set(values))


def set_damaged_aside(repo: Repo, odb: Any, values: Collection[str], log: Callable[[str], None]) -> None:
    """Move damaged objects among `values` out of the way, so that they are fetched or made again; log their names.

    Raises:
        DvcFailed: the cache is read-only.
    """
    for value in find_damaged(odb, values):
        path, target = Path(odb.oid_to_path(value)), Path(repo.cache.local_cache_dir) / FOLDER / value
        try:
            repo.cache.local.makedirs(str(target.parent))  # writable by the group with `cache.shared = group`
            path.replace(target)
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise DvcFailed(
                f"{path} in DVC's cache is damaged and cannot be moved ({error.strerror}); delete it"
            ) from error
        log(f"{path} in DVC's cache was damaged, and is now {target}; its content is fetched or made again")


def set_damaged_output_aside(out: Any, values: Collection[str], log: Callable[[str], None]) -> None:
    """Move damaged objects among `values`, which belong to an output, out of the way; log their names."""
    if out.protocol == "local":
        set_damaged_aside(out.repo, out.local_cache, [value for value in values if value], log)


def mend_cache(repo: Repo, log: Callable[[str], None]) -> None:
    """Set damaged objects of recorded outputs aside, and replace those whose content the workspace has."""
    with repo.lock, exclusive_lock(cache_lock_path(Path(repo.stage_cache.cache_dir).parent)):
        for out in repo.index.outs:
            if out.use_cache and out.hash_info and out.protocol == "local":
                set_damaged_output_aside(out, [value_of(out.hash_info)], log)
                if out.changed_cache() and not out.workspace_status():
                    out.commit()


def contents(out: Any) -> set[str]:
    """Return the hashes of an output's object and of its files, as far as they are loaded."""
    files = {value_of(item) for _, _, item in out.obj} if isinstance(out.obj, Tree) else set()
    return {value_of(out.hash_info), *files} if out.hash_info else set()


def _with_other_contents(odb: Any, values: Collection[str]) -> list[str]:
    infos: dict[str, Any] = {}
    paths = {odb.oid_to_path(value): value for value in values}
    for path in paths:
        with suppress(FileNotFoundError):
            infos[path] = odb.fs.info(path)
    damaged = []
    for path, _, known in odb.state.get_many(list(infos), odb.fs, infos):
        if known is None or known.name != odb.hash_name:
            _, known = hash_file(path, odb.fs, odb.hash_name, odb.state, info=infos[path])
        if value_of(known).removesuffix(".dir") != paths[path].removesuffix(".dir"):
            damaged.append(paths[path])
    return damaged
