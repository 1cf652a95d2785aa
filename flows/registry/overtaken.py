"""Tags of the registry that are other objects in Git's remote: somebody else was first, or moved a tag."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.core.errors import GitFailed, RegistryFailed
from flows.core.git import REMOTE_TIMEOUT_S, git_text, push_remote, run_git
from flows.registry.tag_files import TAGS
from flows.registry.tags import Registry

MOST_NAMED = 20  # tags in one message


def fetch_tags(root: Path, remote: str = "") -> None:
    """Fetches the tags of this project's registry from Git's `remote`: those made now follow what others promoted.

    Other tags are neither fetched nor compared.

    Args:
        root: the project's folder.
        remote: Git's remote; without it, the one from which `git fetch` fetches.

    Raises:
        GitFailed: the remote cannot be reached.
        RegistryFailed: tags are other objects than the remote's; the tags that are missing here were fetched.
    """
    here, there = _own_tags(root, remote)
    if missing := [f"refs/tags/{name}:refs/tags/{name}" for name in there if name not in here]:
        command = ["fetch", "--quiet", "--no-tags", "--stdin", *_named(remote)]  # thousands exceed a command line
        run_git(command, root, stdin="\n".join(missing).encode(), timeout_s=REMOTE_TIMEOUT_S)
    if other := _other_objects(here, there):
        raise RegistryFailed(_difference(root, remote, other, here, there))


@contextmanager
def undone_if_overtaken(root: Path, model: str, remote: str, made: Sequence[str]) -> Iterator[None]:
    """Removes all tags in `made` if the push in its block is refused because Git's remote has other tags of such names.

    None of them may stay: a version was numbered and compared after those that were known. The other tags are fetched.

    Args:
        root: the project's folder.
        model: the model.
        remote: Git's remote.
        made: the tags that this call made, in that order.

    Raises:
        RegistryFailed: another promotion came first.
        GitFailed: the push failed for another reason; the tags stay, and a later call pushes them.
    """
    try:
        yield
    except GitFailed as error:
        try:
            other = _other_objects(*_own_tags(root, remote))
        except GitFailed:
            raise error from None
        overtaken = [tag for tag in made if tag in other]
        if other and not overtaken:
            fetch_tags(root, remote)  # its error names them
        if not overtaken:
            raise
        for tag in reversed(made):  # a kill in between leaves a version without a stage, as one of a promotion does
            Registry(root).remove(tag)
        with suppress(GitFailed):
            fetch_tags(root, remote)
        raise RegistryFailed(
            f"another promotion of {model} came first ({_maker(root, model, overtaken[-1])}); the tags that this call "
            f"made are removed ({', '.join(made)}): look at `inkflow models`, and repeat the command"
        ) from error


def remote_tags(root: Path, remote: str = "") -> dict[str, str]:
    """Returns the objects of the tags that Git's `remote` has, by the names of the tags.

    Raises:
        GitFailed: the remote cannot be reached.
    """
    listed = run_git(["ls-remote", "--tags", "--refs", *_named(remote)], root, timeout_s=REMOTE_TIMEOUT_S)
    return _objects(listed.decode(errors="surrogateescape"))


def _own_tags(root: Path, remote: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the objects of tags, by their names: of all tags here, and of the registry's tags in the remote."""
    registry = Registry(root)
    patterns = [f"refs/tags/{pattern}" for pattern in TAGS]
    here = _objects(git_text(["for-each-ref", "--format=%(objectname)\t%(refname)", *patterns], root))
    there = remote_tags(root, remote)
    return here, {name: there[name] for name in sorted(there) if registry.has_tag(name)}


def _other_objects(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    return [name for name in there if name in here and here[name] != there[name]]


def _difference(root: Path, remote: str, other: list[str], here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Returns the sentence about tags that are other objects here and in the remote, and the commands that end it.

    Only where this repository has the remote's object too, the tag was moved here, and may be moved there. Else the
    remote's may be of a promotion that nobody here knows, and to overwrite it would undo that.
    """
    asked = "\n".join(there[name] for name in other).encode()
    found = run_git(["cat-file", "--batch-check"], root, stdin=asked).decode().splitlines()
    unknown = [name for name, line in zip(other, found, strict=True) if line.endswith(" missing")]
    names = (unknown or other)[:MOST_NAMED]
    differ = "; ".join(
        f"the tag {name} is the object {here[name]} here and {there[name]} in Git's remote" for name in names
    )
    remove = f"`git tag -d {shlex.join(names)}`"
    if unknown:
        return (
            f"{differ}: another promotion came first, or the remote's was moved; {remove} removes what is only here, "
            "then repeat the command"
        )
    force = f"`git push --force {remote or push_remote(root)} {shlex.join(f'refs/tags/{name}' for name in names)}`"
    return f"{differ}: moved here or there; if the remote's is right, {remove}, else {force}, and repeat the command"


def _maker(root: Path, model: str, tag: str) -> str:
    """Returns the version that a tag marks, and who made it; the tag's name if it could not be fetched."""
    described = git_text(["for-each-ref", "--format=%(*objectname) %(taggername)", f"refs/tags/{tag}"], root)
    commit, _, author = described.partition(" ")
    version = next((item.version for item in Registry(root).versions(model) if item.commit == commit), "")
    return f"{model} {version} by {author}" if version and author else tag


def _named(remote: str) -> list[str]:
    """Returns the argument with which git uses `remote`: without one it takes the remote of the branch, or origin."""
    return [remote] if remote else []


def _objects(listed: str) -> dict[str, str]:
    """Returns the objects of tags by their names, of lines `OBJECT<tab>refs/tags/NAME`."""
    pairs = (line.split("\trefs/tags/", 1) for line in listed.split("\n") if line)
    return {name: digest for digest, name in pairs}
