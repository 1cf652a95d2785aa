"""DVC's cache for `inkflow prune`: run-cache entries, what each holds, and what no branch, tag or experiment may lose.

`dvc gc` keeps or drops objects and never touches run-cache entries. Here entries go, with those objects that nothing
else needs: neither an entry that stays nor any file of DVC's at the head of a branch, a tag, an experiment or a stash.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from flows.core.errors import DvcFailed, PipelineInvalid
from flows.core.file_lock import one_at_a_time
from stages.base.errors import InvalidInput

RECORDS = ("dvc.lock", ".dvc")  # ends of the names of files in which DVC keeps hashes
HASH = re.compile(rb"\b[0-9a-f]{32}(?:\.dir)?\b")


@dataclass(frozen=True)
class Entry:
    """A run-cache entry: its file, when it was made, and the hashes of the outputs that it names."""

    path: Path
    made: float
    outputs: frozenset[str]


class Cache:
    """The cache of the project at `root`, held so that nobody else changes it."""

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._stores = [repo.cache.local, repo.cache.legacy]
        self.folder = Path(repo.cache.local_cache_dir)
        self._runs = Path(repo.stage_cache.cache_dir)

    def entries(self) -> list[Entry]:
        """All run-cache entries, oldest first."""
        found = []
        for path in self._runs.glob("*/*/*"):
            with suppress(OSError):
                names = frozenset(_hashes(_outputs(path.read_bytes())))
                found.append(Entry(path, path.stat().st_mtime, self.opened(names)))
        return sorted(found, key=lambda entry: (entry.made, entry.path))

    def opened(self, hashes: Iterable[str]) -> frozenset[str]:
        """`hashes`, and those of the files in the folders among them."""
        found = set(hashes)
        for name in [name for name in found if name.endswith(".dir")]:
            for path in self.files(name):
                with suppress(OSError, ValueError):  # a broken one names nothing
                    found |= {item["md5"] for item in json.loads(path.read_bytes()) if "md5" in item}
        return frozenset(found)

    def files(self, name: str) -> list[Path]:
        """Files of the cache that hold the content with this hash: DVC 2 kept it elsewhere."""
        paths = [Path(store.oid_to_path(name)) for store in self._stores]
        return [path for path in paths if path.is_file()]

    def size(self) -> int:
        """Bytes of all of it."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files of the cache, and folders of it that are empty then.

        Raises:
            DvcFailed: one cannot be removed.
        """
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise DvcFailed(f"{path} cannot be removed ({error.strerror}); make it yours to write") from error
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):  # it holds something else
                    folder.rmdir()


@contextmanager
def held_cache(root: Path) -> Iterator[Cache]:
    """The cache of the project at `root`, with DVC's lock and that of all who share it.

    Raises:
        PipelineInvalid: there is no DVC project.
        DvcFailed: another DVC command is under way.
    """
    try:
        with Repo(str(root)) as repo:
            cache = Cache(repo)
            with repo.lock, one_at_a_time(cache.folder / "inkflow.lock"):
                yield cache
    except LockError as error:
        raise DvcFailed(f"another DVC command is under way; wait for its end, then prune again ({error})") from error
    except DvcException as error:
        raise PipelineInvalid(f"DVC cannot read the project: {error}") from error


def needed(root: Path) -> frozenset[str]:
    """Hashes in DVC's files of the workspace and of every branch, tag, experiment, stash and working tree of git.

    Raises:
        InvalidInput: `root` is in no git repository, or git cannot read it: nobody knows what is needed.
    """
    found = {name for path in _records_here(root) for name in _hashes(path.read_bytes())}
    blobs: dict[str, None] = {}
    for commit in _commits(root):
        for line in _git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0"):
            facts, _, name = line.partition("\t")
            if name.endswith(RECORDS):
                blobs[facts.split()[2]] = None
    for blob in blobs:
        found |= set(_hashes(_git(root, "cat-file", "blob", blob).encode()))
    return frozenset(found)


def _commits(root: Path) -> list[str]:
    """Commits that something in git names."""
    heads = _git(root, "rev-list", "--no-walk", "--all").split()
    trees = [line.split()[1] for line in _git(root, "worktree", "list", "--porcelain").splitlines() if _is_head(line)]
    stashes = _git(root, "stash", "list", "--format=%H").split()
    return list(dict.fromkeys([*heads, *trees, *stashes]))


def _is_head(line: str) -> bool:
    return line.startswith("HEAD ") and set(line.split()[1]) != {"0"}  # zeros: a tree without a commit yet


def _records_here(root: Path) -> Sequence[Path]:
    """DVC's files in the working trees of this repository, as they lie there."""
    lines = _git(root, "worktree", "list", "--porcelain").splitlines()
    trees = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
    found = []
    for tree in {*trees, root.resolve()}:
        if tree.is_dir():
            names = _git(tree, "ls-files", "-z", "--cached", "--others", "--", *(f"*{end}" for end in RECORDS))
            found += [tree / name for name in names.split("\0") if name and (tree / name).is_file()]
    return found


def _outputs(entry: bytes) -> bytes:
    """The part of an entry that names its outputs; they stand last, as DVC sorts its keys."""
    return b"\n" + entry.partition(b"\nouts:")[2]


def _hashes(content: bytes) -> Iterator[str]:
    return (found.decode() for found in HASH.findall(content))


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="surrogateescape", check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InvalidInput(f"git cannot say what branches and tags need ({said}); nothing was removed")
    return done.stdout
