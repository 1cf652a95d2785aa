"""Pushes the outputs of an earlier version to the DVC remote.

DVC's own push of a revision resolves the relative URL of a remote at the root of the file system, and passes over
objects that no cache has.
"""

import threading
from collections.abc import Collection
from pathlib import Path

from dvc.repo import Repo

from flows.dvc_repo.remote.results import Remote


def push_version_outputs(root: Path, version: str, hashes: Collection[str]) -> None:
    """Pushes those objects with these hashes that the cache has, and the files of folders among them.

    Raises:
        NoRemote, TransferFailed: the default remote cannot be used; `version` is named.
    """
    with Repo(str(root)) as repo:
        remote = Remote(repo, 0.0, threading.Event())
        remote.ensure_configured(version)
        remote.push(version, [value for value in hashes if repo.cache.local.exists(value)])
