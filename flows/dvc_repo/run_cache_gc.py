"""Access to DVC's cache for `inkflow prune`: run-cache entries, their objects, and the hashes that are still in use.

`dvc gc` removes or keeps objects and never touches run-cache entries. `inkflow prune` removes entries, and those of
their objects that are not in use: by an entry that stays, or by a DVC file at the head of a branch, a tag, an
experiment or a stash.
"""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.lock import LockError

from flows.core.errors import DvcFailed, GitFailed
from flows.core.file_lock import exclusive_lock
from flows.core.git import git_names, git_text, require_repository, run_git
from flows.dvc_repo.locking import cache_lock_path
from flows.dvc_repo.opening import open_repo
from stages.base.errors import InvalidInput
from stages.base.files import parse_json

DVC_FILES = ("dvc.lock", ".dvc")  # endings of the names of files that contain hashes
HASH = re.compile(rb"\b[0-9a-f]{32}(?:\.dir)?\b")
YOUNG_S = 3600.0  # another project may be writing into a shared cache
HASH_TEXT = re.compile("[0-9a-f]{32}")  # of a file in a folder; another text would be a path outside of the cache


@dataclass(frozen=True)
class RunCacheEntry:
    """A run-cache entry and what it names."""

    path: Path
    mtime: float
    outputs: frozenset[str]  # hashes, those of files in folders included


class Cache:
    """The cache of a project; made by `locked_cache`."""

    def __init__(self, repo: Any) -> None:
        self._odbs = [repo.cache.local, repo.cache.legacy]
        self.folder = Path(repo.cache.local_cache_dir)
        self._runs = Path(repo.stage_cache.cache_dir)

    def entries(self) -> list[RunCacheEntry]:
        """Return all run-cache entries, oldest first."""
        entries = []
        for path in self._runs.glob("*/*/*"):
            with suppress(OSError):
                hashes = frozenset(_hashes(_outputs(path.read_bytes())))
                entries.append(RunCacheEntry(path, path.stat().st_mtime, self.with_folder_files(hashes)))
        return sorted(entries, key=lambda entry: (entry.mtime, entry.path))

    def with_folder_files(self, hashes: Iterable[str]) -> frozenset[str]:
        """Return `hashes` and those of the files in folders among them."""
        result = set(hashes)
        for value in [value for value in result if value.endswith(".dir")]:
            for path in self.files(value):
                with suppress(OSError, ValueError, TypeError):  # an unreadable list of files
                    items = [item for item in parse_json(path.read_bytes()) if isinstance(item, dict)]
                    result |= {str(item["md5"]) for item in items if HASH_TEXT.fullmatch(str(item.get("md5")))}
        return frozenset(result)

    def files(self, value: str) -> list[Path]:
        """Return the cache files that hold the content with this hash; DVC 2 used another folder than DVC 3."""
        paths = [Path(odb.oid_to_path(value)) for odb in self._odbs]
        return [path for path in paths if path.is_file()]

    def temporary_files(self) -> list[Path]:
        """Return what killed processes of DVC began to write: files with temporary names that are an hour old."""
        latest = time.time() - YOUNG_S
        return [path for path in self.folder.rglob(".*.tmp") if path.is_file() and path.stat().st_mtime <= latest]

    def size(self) -> int:
        """Return the size of all files in bytes."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files of the cache, and folders that become empty.

        Raises:
            DvcFailed: a file cannot be removed.
        """
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise DvcFailed(f"{path} cannot be removed ({error.strerror}); make it writable") from error
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):  # it is not empty
                    folder.rmdir()


@contextmanager
def locked_cache(root: Path) -> Iterator[Cache]:
    """Yield the cache of the project at `root`, and hold DVC's lock and the lock of all users of the cache.

    Raises:
        PipelineInvalid: there is no DVC project.
        DvcFailed: another DVC command is running.
    """
    with open_repo(root) as repo, ExitStack() as locks:
        cache = Cache(repo)
        try:
            locks.enter_context(repo.lock)
        except LockError as error:
            message = f"another DVC command is running; wait until it ends, then prune again ({error})"
            raise DvcFailed(message) from error
        locks.enter_context(exclusive_lock(cache_lock_path(cache.folder)))
        yield cache


def referenced_hashes(root: Path) -> frozenset[str]:
    """Return the hashes in DVC files of the workspace and of each branch, tag, experiment, stash and git worktree.

    Raises:
        InvalidInput: `root` is in no git repository, or git cannot read it.
    """
    require_repository(root, "whose versions say which results have to stay")
    try:
        hashes = {value for path in _worktree_files(root) for value in _hashes(path.read_bytes())}
        blobs: dict[str, None] = {}
        for commit in _commits(root):
            for line in git_names(["ls-tree", "-r", "-z", "--full-tree", commit], root):
                facts, _, name = line.partition("\t")
                if name.endswith(DVC_FILES):
                    blobs[facts.split()[2]] = None
        for blob in blobs:
            hashes |= set(_hashes(run_git(["cat-file", "blob", blob], root)))
    except GitFailed as error:
        raise InvalidInput(
            f"git cannot list the versions of the project, whose results have to stay ({error}); nothing was removed"
        ) from error
    return frozenset(hashes)


def _commits(root: Path) -> list[str]:
    """Commits of all references, worktrees and stashes."""
    heads = git_text(["rev-list", "--no-walk", "--all"], root).split()
    lines = git_text(["worktree", "list", "--porcelain"], root).splitlines()
    trees = [line.split()[1] for line in lines if _is_head(line)]
    stashes = git_text(["stash", "list", "--format=%H"], root).split()
    return list(dict.fromkeys([*heads, *trees, *stashes]))


def _is_head(line: str) -> bool:
    return line.startswith("HEAD ") and set(line.split()[1]) != {"0"}  # zeros: a worktree without a commit


def _worktree_files(root: Path) -> Sequence[Path]:
    """DVC files in all worktrees of the repository, with their uncommitted content."""
    lines = git_text(["worktree", "list", "--porcelain"], root).splitlines()
    trees = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
    files = []
    for tree in {*trees, root.resolve()}:
        if tree.is_dir():
            patterns = [f"*{end}" for end in DVC_FILES]
            names = git_names(["ls-files", "-z", "--cached", "--others", "--", *patterns], tree)
            files += [tree / name for name in names if (tree / name).is_file()]
    return files


def _outputs(entry: bytes) -> bytes:
    """The part of an entry that names its outputs, which is the last one: DVC sorts the keys."""
    return b"\n" + entry.partition(b"\nouts:")[2]


def _hashes(content: bytes) -> Iterator[str]:
    return (match.decode() for match in HASH.findall(content))
