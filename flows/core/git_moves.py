"""Finds the files that git may have written with other content since a moment, as a checkout, reset or stash does.

Git notes each of these in the log of HEAD or of the stash. Commands that write only the index, such as `git add`, and
commits do not count: they leave the files as they are.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from flows.core.errors import GitFailed
from flows.core.git import git_names

COMMITS = (b"commit:", b"commit (amend):", b"commit (initial):")  # entries of commands that write no file
RESETS = (b"reset:",)  # also of `git stash`: nothing says which content the files had before


class GitMark(NamedTuple):
    """How far the logs of the repository around a folder reach at a moment.

    Attributes:
        head: the log of HEAD.
        stash_time: when the log of the stash was written, in ns; 0 if there is none.
        head_time: when HEAD was written, in ns, for a repository in which git keeps no log of it.
    """

    head: bytes
    stash_time: int
    head_time: int


class Repository(NamedTuple):
    """Where a repository is: its working tree, the folder of this tree's HEAD, and that of all trees' references."""

    tree: Path
    own: Path
    common: Path


def mark(folder: Path) -> GitMark | None:
    """Returns how far the logs of the repository around `folder` reach; None outside of a repository."""
    repository = _find_repository(folder)
    if repository is None:
        return None
    head = b""
    with suppress(OSError):
        head = (repository.own / "logs" / "HEAD").read_bytes()
    return GitMark(head, _time(repository.common / "logs" / "refs" / "stash"), _time(repository.own / "HEAD"))


def files_replaced(since: GitMark | None, paths: Collection[Path], folder: Path) -> set[Path]:
    """Returns the tracked files at or below `paths` that git may have written with other content since a mark.

    Args:
        since: the mark.
        paths: absolute paths of files and folders.
        folder: the folder that the mark is of.

    Returns:
        Absolute paths. All tracked files after a stash or a reset, those that differ between the commits after a
        checkout, a merge or a rebase. None if git does not answer, as where it trusts no other user's repository.
    """
    now, repository = mark(folder), _find_repository(folder)
    if since is None or now is None or repository is None or now == since:
        return set()
    tree = repository.tree
    places = {path.relative_to(tree) for path in paths if path.is_relative_to(tree)}
    if not places:
        return set()
    try:
        tracked = _names(["ls-files", "--full-name"], places, tree)
    except GitFailed:
        return set()
    if now.stash_time != since.stash_time or (not now.head and now.head_time != since.head_time):
        return tracked
    replaced: set[Path] = set()
    for line in _new_lines(since.head, now.head):
        change, _, message = line.partition(b"\t")
        old, new = change.decode(errors="replace").split(" ")[:2]
        if message.startswith(RESETS):
            return tracked
        if old != new and not message.startswith(COMMITS):
            try:
                replaced |= _names(["diff", "--name-only", "--no-renames", old, new], places, tree)
            except GitFailed:  # one of the commits is gone, or was none
                return tracked
    return tracked & replaced


def _names(command: Sequence[str], places: set[Path], tree: Path) -> set[Path]:
    """Returns the files at or below `places` that a git command names; a command line cannot hold many places."""
    names = map(Path, git_names([*command, "-z"], tree))
    return {tree / name for name in names if name in places or not places.isdisjoint(name.parents)}


def _new_lines(before: bytes, after: bytes) -> list[bytes]:
    """Returns the lines that were added to a log; git may have removed old ones meanwhile."""
    if after.startswith(before):
        return after[len(before) :].splitlines()
    known = set(before.splitlines())
    return [line for line in after.splitlines() if line not in known]


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _find_repository(folder: Path) -> Repository | None:
    for tree in (folder, *folder.parents):
        own = tree / ".git"
        with suppress(OSError, UnicodeDecodeError):
            if own.is_file():  # of a work tree beside the repository, or of a submodule
                own = tree / own.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()
            if own.is_dir():
                common = own / "commondir"
                return Repository(
                    tree, own, own / common.read_text(encoding="utf-8").strip() if common.exists() else own
                )
    return None
