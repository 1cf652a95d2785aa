"""Publication of versions: their files go to the DVC remote before their tags go to Git's remote."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from flows.core.errors import RegistryFailed, RevisionUnusable
from flows.core.git import REMOTE_TIMEOUT_S, git_succeeds, git_text, head_commit, push_remote, run_git
from flows.core.notices import note_once
from flows.dvc_repo import remotes
from flows.dvc_repo.remote.version_push import push_version_outputs
from flows.registry.model_files import check_stored
from flows.registry.overtaken import remote_tags, undone_if_overtaken
from flows.registry.tags import Registry
from stages.base.errors import InvalidInput


def git_remote(root: Path) -> str:
    """Returns the name of Git's remote to push to: before tags are made that cannot be pushed.

    Raises:
        InvalidInput: the repository has no remote of that name.
    """
    name = push_remote(root)
    if not git_succeeds(["remote", "get-url", name], root):
        raise InvalidInput(f"--push: Git has no remote {name!r}; add it with `git remote add {name} URL`")
    return name


def push_version(root: Path, model: str, remote: str, made: Sequence[str]) -> None:
    """Pushes the outputs of the working tree to the DVC remote, then what `push_tags` does.

    Raises:
        RemoteFailed: the DVC remote cannot be used; no tag is pushed.
        RegistryFailed: another promotion came first; the tags `made` by this call are removed.
        GitFailed: Git's remote cannot be used.
    """
    remotes.push(root)
    push_tags(root, model, remote, made, pushed=head_commit(root))


def push_tags(root: Path, model: str, remote: str, made: Sequence[str], *, pushed: str = "", needed: str = "") -> None:
    """Pushes the model's tags to Git's `remote`, after the files of those versions that the remote does not know yet.

    A promotion without --push, or one that was killed, leaves such versions. A later call repeats what failed. The tags
    of an earlier version whose files are nowhere are left out, and named.

    Args:
        root: the project's folder.
        model: the model.
        remote: Git's remote.
        made: the tags that this call made, in that order.
        pushed: a commit whose files were pushed just now.
        needed: the version for which the call is: without its files, no tag is pushed.

    Raises:
        RevisionUnusable, RegistryFailed: no cache and no remote has the file of the version `needed`; or another
            promotion came first, and the tags `made` are removed.
        NoRemote, TransferFailed: the DVC remote cannot be used; no tag is pushed.
        GitFailed: Git's remote cannot be used.
    """
    registry = Registry(root)
    patterns = [registry.version_tag(model, "*"), registry.stage_tags(model)]
    names = list(filter(registry.has_tag, git_text(["tag", "--list", *patterns], root).splitlines()))
    known = remote_tags(root, remote)
    new = [item for item in registry.versions(model) if registry.version_tag(model, item.version) not in known]
    for item in new:
        if item.commit == pushed:
            continue
        try:
            check_stored(root, item)
        except (RevisionUnusable, RegistryFailed) as error:
            if item.version == needed:
                raise
            there = git_text(["tag", "--list", "--points-at", item.commit, *patterns], root).splitlines()
            tags = [name for name in names if name in there]
            names = [name for name in names if name not in tags]
            note_once(
                f"{model}@{item.version} is not pushed: {error}; if its files are lost, remove the version: "
                f"`git tag -d {shlex.join(tags)}`"
            )
        else:
            push_version_outputs(root, f"{model}@{item.version}", item.commit)
    if names:
        references = [f"refs/tags/{name}" for name in names]
        with undone_if_overtaken(root, model, remote, made):
            run_git(["push", "--quiet", "--atomic", remote, *references], root, timeout_s=REMOTE_TIMEOUT_S)
