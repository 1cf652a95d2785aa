"""Checks the files of the registry's tags: damaged ones, and several versions of a model on one commit."""

import re
from pathlib import Path

from flows.core.errors import GitFailed, RegistryFailed
from flows.core.git import git_text, push_remote

TAGS = ("*@*", "*#*", "**/*@*", "**/*#*")  # of versions and stages
MISSING = re.compile(r"missing object \w+ for refs/tags/(\S+)")
REFERENCE = re.compile(r"(?!0+$)[0-9a-f]{40}([0-9a-f]{24})?|ref: *refs/.+")  # the file of a tag
VERSION_TAG = re.compile(r"(?P<model>.+)@v\d[^!#]*")


def check_tags(top: Path) -> None:
    """Checks the tags of versions and stages: Git and GTO ignore a damaged one, and a stage would have another version.

    Raises:
        RegistryFailed: the file of a tag has no name of an object, or that of an object that does not exist.
    """
    folder = top / git_text(["rev-parse", "--git-common-dir"], top).strip() / "refs" / "tags"
    try:
        git_text(["for-each-ref", "--format=%(objecttype)", *(f"refs/tags/{pattern}" for pattern in TAGS)], top)
    except GitFailed as error:
        if not (found := MISSING.search(str(error))):
            raise
        raise _damaged(found[1], folder / found[1], top) from error
    for path in sorted(folder.rglob("*[@#]*")):
        content = _content(path)
        if content is not None and not REFERENCE.fullmatch(content.strip()):
            raise _damaged(path.relative_to(folder).as_posix(), path, top)


def versions_of_one_commit(top: Path, reason: str) -> RegistryFailed:
    """Returns the error for a commit with several versions of a model, which GTO does not read; it names the tags.

    Args:
        top: the top of the repository.
        reason: the words of GTO, if no such tags are found any more.
    """
    fields = "--format=%(refname:strip=2) %(objectname) %(*objectname)"
    found: dict[tuple[str, str], list[str]] = {}
    for line in git_text(["for-each-ref", fields, *(f"refs/tags/{pattern}" for pattern in TAGS)], top).splitlines():
        tag, *objects = line.split()
        if match := VERSION_TAG.fullmatch(tag):
            found.setdefault((match["model"], objects[-1]), []).append(tag)
    several = [(key, tags) for key, tags in found.items() if len(tags) > 1]
    if not several:
        return RegistryFailed(f"the registry cannot be read: {reason}; repeat the command")
    (model, commit), tags = several[0]
    return RegistryFailed(
        f"{model} has several versions at the commit {commit[:10]}, expected one: {', '.join(sorted(tags))}; delete "
        f"the tag that is not meant, with `git tag -d`, and in the remote with `git push {push_remote(top)} --delete`"
    )


def shallow_hint(root: Path) -> str:
    """Returns the end of a sentence about tags that are not found: a shallow clone lacks those of older commits."""
    if git_text(["rev-parse", "--is-shallow-repository"], root) != "true":
        return ""
    return "; this clone is shallow and lacks the tags of older commits: `git fetch --tags --unshallow` brings them"


def _damaged(tag: str, path: Path, top: Path) -> RegistryFailed:
    again = f"fetch the tag again: `git fetch {push_remote(top)} tag '{tag}'`"
    return RegistryFailed(f"the tag {tag} is damaged; delete {path}, and {again}")


def _content(path: Path) -> str | None:
    """Returns the content of a tag's file; None for Git's lock of one, for a folder, and if the tag was just deleted.

    Raises:
        RegistryFailed: the file cannot be read.
    """
    if path.suffix == ".lock" or path.is_dir():
        return None
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RegistryFailed(f"a tag cannot be read: {error}; correct its permissions") from error
