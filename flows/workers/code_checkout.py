"""Checks out the code of an order on a worker: the commit from git, with the orchestrator's changes applied."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from flows.core.errors import GitFailed, OrderUnusable
from flows.core.file_lock import exclusive_lock
from flows.core.git import git_succeeds, run_git
from flows.core.project import STATE
from flows.engine.output_backup import remove_path
from flows.engine.processes.command_runner import die_with_parent
from flows.engine.types import file_name
from flows.workers.order import Order, unpack_patch
from stages.base.dvc_settings import expanded
from stages.base.files import replacing_folder

HOME_VARIABLE = "INKFLOW_WORKER_HOME"
GIT_OPTIONS = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false")
INIT = ("init", "--quiet", "--bare")
FETCH_TIMEOUT_S = 3600.0  # the first fetch takes the whole history
# What makes a folder a repository for git; in any other one it would look for the repository around the folder.
REPOSITORY = ("HEAD", "objects", "refs")
CLEAN_EXCLUDES = ("-e", "/.inkflow", "-e", ".dvc/tmp", "-e", ".dvc/config.local")  # checkpoints and DVC's local state


def worker_home() -> Path:
    """Return the folder in which all workers of this machine keep their files."""
    named = os.environ.get(HOME_VARIABLE, "").strip()
    return (expanded(named) if named else expanded("~") / STATE / "worker").absolute()


def stage_folder(order: Order, home: Path) -> Path:
    """Return the folder of the order's stage below `home`: a clone per stage, so that no stage waits for another."""
    return home / "work" / _digest(order.source) / file_name(order.stage)


def check_out(order: Order, home: Path, folder: Path) -> Path:
    """Bring the clone in `folder` to the order's commit, apply its patch, and return the DVC project's folder in it.

    The clone, and the repository with the objects of all clones, are made again where git cannot use them: after a
    power cut, or after a move of `home`, whose path the clones hold.

    Raises:
        OrderUnusable: the commit cannot be fetched, or the patch does not apply.
    """
    objects = home / "sources" / f"{_digest(order.source)}.git"
    clone, lock = folder / "clone", objects.with_suffix(".lock")
    with exclusive_lock(lock):
        _fetch(order, objects)
    try:
        _use_clone(order, clone, objects)
    except OrderUnusable:
        with exclusive_lock(lock):
            if git_succeeds(["--git-dir=.", "fsck", "--no-dangling", "--no-progress"], objects):
                raise
            _fetch_again(order, objects)
        _use_clone(order, clone, objects)
    return clone / order.folder


def _use_clone(order: Order, clone: Path, objects: Path) -> None:
    """Bring the clone to the order's state, or a new one if there is none, or git cannot use it; checkpoints stay."""
    if _is_repository(clone / ".git", "objects/info/alternates"):
        _remove_leftovers(clone / ".git")  # the caller holds the folder's lock
        with suppress(OrderUnusable):
            _fill(order, clone)
            return
    with replacing_folder(clone) as new:
        _git(new, "clone", "--quiet", "--shared", "--no-checkout", str(objects), ".")
        _fill(order, new)
        state = Path(order.folder) / STATE
        if (clone / state).is_dir() and not (new / state).exists():
            (clone / state).rename(new / state)


def _fill(order: Order, clone: Path) -> None:
    """Bring the files of the clone to the order's commit, and apply its patch."""
    own = "--git-dir=.git"
    _git(clone, own, *GIT_OPTIONS, "checkout", "--quiet", "--force", "--detach", order.commit)
    _git(clone, own, "clean", "--quiet", "-ffd", *CLEAN_EXCLUDES)  # ignored files stay: outputs, which are replaced
    if patch := unpack_patch(order.patch):
        # Applied to the index too: the next checkout then removes files that the patch adds, ignored ones included.
        _git(clone, own, "apply", "--index", "--binary", "--whitespace=nowarn", "-", stdin=patch)


def _is_repository(folder: Path, *more: str) -> bool:
    """Return whether the folder has what a repository needs, and `more`: a process may have been killed before."""
    return all((folder / name).exists() for name in (*REPOSITORY, *more))


def _remove_leftovers(repository: Path) -> None:
    """Remove the locks and temporary files of killed git processes; the caller makes sure that no other one runs."""
    patterns = ("*.lock", "refs/**/*.lock", "logs/**/*.lock", "objects/info/**/*.lock", "packed-refs.new")
    for pattern in (*patterns, "objects/tmp_*", "objects/*/tmp_*"):
        for path in list(repository.glob(pattern)):  # no reference has a name that ends with .lock
            remove_path(path)


def _fetch(order: Order, objects: Path) -> None:
    """Fetch the order's commit into the bare repository `objects`, unless it is already there."""
    if not _is_repository(objects):
        with replacing_folder(objects) as new:
            _git(new, *INIT)
    _remove_leftovers(objects)  # the caller holds the lock of the sources
    if _has_commit(objects, order.commit):
        return
    try:
        _fetch_branches(order, objects)
    except OrderUnusable:  # the repository may be damaged; if the source is unreachable, it stays
        _fetch_again(order, objects)
    _fetch_commit(order, objects)


def _fetch_again(order: Order, objects: Path) -> None:
    """Fetch the order's commit into a new repository, which replaces `objects` if all went well."""
    with replacing_folder(objects) as new:
        _git(new, *INIT)
        _fetch_branches(order, new)
        _fetch_commit(order, new)


def _fetch_branches(order: Order, objects: Path) -> None:
    """Fetch all branches and tags. --prune: a deleted branch `a` would conflict with a new branch `a/b`."""
    branches = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    _fetch_from_source(order, objects, "--prune", order.source, *branches)


def _fetch_commit(order: Order, objects: Path) -> None:
    """Fetch the order's commit if it is on no branch."""
    if not _has_commit(objects, order.commit):
        _fetch_from_source(order, objects, order.source, order.commit)


def _fetch_from_source(order: Order, objects: Path, *arguments: str) -> None:
    try:
        _git(objects, "--git-dir=.", *GIT_OPTIONS, "fetch", "--quiet", *arguments)
    except OrderUnusable as error:
        raise OrderUnusable(
            f"this worker cannot fetch the commit {order.commit[:10]} from {order.source} ({error}); push it to a "
            "repository that workers can reach, and set its address with `git remote set-url origin URL`"
        ) from error


def _has_commit(objects: Path, commit: str) -> bool:
    return git_succeeds(["--git-dir=.", "cat-file", "-e", f"{commit}^{{commit}}"], objects)


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> None:
    """Run a git command in `folder`; it dies with this process, since the next one removes its locks and files.

    Raises:
        OrderUnusable: the command failed; the message is git's own.
    """
    try:
        run_git(arguments, folder, stdin=stdin, timeout_s=FETCH_TIMEOUT_S, started_by=die_with_parent)
    except GitFailed as error:
        raise OrderUnusable(str(error)) from error


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()[:16]
