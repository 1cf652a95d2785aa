"""Pushes the outputs of an earlier version to their DVC remotes.

DVC's own push of a revision resolves the relative URL of a remote at the root of the file system, and passes over
objects that no cache has.
"""

import threading
from pathlib import Path

from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo

from flows.dvc_repo.opening import open_repo
from flows.dvc_repo.remote.layouts import cache_of
from flows.dvc_repo.remote.results import Remote


def push_version_outputs(root: Path, version: str, commit: str) -> None:
    """Pushes those outputs of the stages at `commit` that the cache has; none that has `push: false` there.

    Raises:
        PipelineInvalid: DVC cannot read the project at that commit.
        NoRemote, TransferFailed: a remote cannot be used; `version` is named.
    """
    with open_repo(root) as repo:
        remote = Remote(repo, 0.0, threading.Event())
        for name, hashes in _outputs_by_remote(repo, commit).items():
            if name is None:
                remote.ensure_configured(version)
            remote.push(version, [item for item in hashes if cache_of(repo, item).exists(item.value)], name)


def _outputs_by_remote(repo: Repo, commit: str) -> dict[str | None, set[HashInfo]]:
    """Returns the hashes of the outputs of stages that may be pushed, by the name of their remote; None: the default.

    A content that is private as one output may be pushed if it is also another one.
    """
    found: dict[str | None, set[HashInfo]] = {}
    with repo.switch(commit):
        for out in [out for stage in repo.index.stages if stage.cmd for out in stage.outs]:
            if out.can_push and out.hash_info:
                found.setdefault(out.remote, set()).add(out.hash_info)
    return found
