"""Checks out the code of an order on a worker: the commit from git, with the orchestrator's changes applied."""

import hashlib
import os
import shutil
from pathlib import Path

from flows.core.errors import GitFailed, OrderUnusable
from flows.core.file_lock import exclusive_lock
from flows.core.git import git_succeeds, run_git
from flows.engine.types import file_name
from flows.workers.order import Order, unpack_patch

HOME_VARIABLE = "INKFLOW_WORKER_HOME"
GIT_OPTIONS = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false")
CLEAN_EXCLUDES = ("-e", "/.inkflow", "-e", ".dvc/tmp", "-e", ".dvc/config.local")  # checkpoints and DVC's local state


def worker_home() -> Path:
    """Return the folder in which all workers of this machine keep their files."""
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".inkflow" / "worker").absolute()


def stage_folder(order: Order, home: Path) -> Path:
    """Return the folder of the order's stage below `home`: a clone per stage, so that no stage waits for another."""
    return home / "work" / _digest(order.source) / file_name(order.stage)


def check_out(order: Order, home: Path, folder: Path) -> Path:
    """Bring the clone in `folder` to the order's commit, apply its patch, and return the DVC project's folder in it.

    Raises:
        OrderUnusable: the commit cannot be fetched, or the patch does not apply.
    """
    objects = home / "sources" / f"{_digest(order.source)}.git"
    clone = folder / "clone"
    with exclusive_lock(objects.with_suffix(".lock")):
        _fetch(order, objects)
    if not (clone / ".git").is_dir():
        shutil.rmtree(clone, ignore_errors=True)
        _git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(objects), str(clone))
    (clone / ".git/index.lock").unlink(missing_ok=True)  # left by a killed process: the caller holds the folder's lock
    _git(clone, *GIT_OPTIONS, "checkout", "--quiet", "--force", "--detach", order.commit)
    _git(clone, "clean", "--quiet", "-ffd", *CLEAN_EXCLUDES)  # ignored files stay: outputs, which are replaced
    if patch := unpack_patch(order.patch):
        # Applied to the index too: the next checkout then removes files that the patch adds, ignored ones included.
        _git(clone, "apply", "--index", "--binary", "--whitespace=nowarn", "-", stdin=patch)
    return clone / order.folder


def _fetch(order: Order, objects: Path) -> None:
    """Fetch the order's commit into the bare repository `objects`, unless it is already there."""
    if not objects.is_dir():
        objects.mkdir(parents=True)
        _git(objects, "init", "--quiet", "--bare")
    if _has_commit(objects, order.commit):
        return
    try:
        _git(
            objects,
            *GIT_OPTIONS,
            "fetch",
            "--quiet",
            "--prune",  # a deleted branch `a` would conflict with a new branch `a/b`
            order.source,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        )
        if not _has_commit(objects, order.commit):  # on no branch
            _git(objects, *GIT_OPTIONS, "fetch", "--quiet", order.source, order.commit)
    except OrderUnusable as error:
        raise OrderUnusable(
            f"this worker cannot fetch the commit {order.commit[:10]} from {order.source} ({error}); push it to a "
            "repository that workers can reach, and set its address with `git remote set-url origin URL`"
        ) from error


def _has_commit(objects: Path, commit: str) -> bool:
    return git_succeeds(["cat-file", "-e", f"{commit}^{{commit}}"], objects)


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> None:
    """Run a git command in `folder`.

    Raises:
        OrderUnusable: the command failed; the message is git's own.
    """
    try:
        run_git(arguments, folder, stdin=stdin)
    except GitFailed as error:
        raise OrderUnusable(str(error)) from error


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()[:16]
