"""The code of an order on a worker: its commit from git, with the orchestrator's edits."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

from flows.core.errors import OrderUnusable
from flows.core.file_lock import one_at_a_time
from flows.workers.order import Order, unpacked

HOME = "INKFLOW_WORKER_HOME"
QUIETLY = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false")
KEPT = ("-e", "/.inkflow", "-e", ".dvc/tmp", "-e", ".dvc/config.local")  # checkpoints, and what DVC knows of files here


def worker_home() -> Path:
    """Folder of this machine for all that workers keep."""
    return Path(os.environ.get(HOME) or Path.home() / ".inkflow" / "worker").absolute()


def place_of(order: Order, home: Path) -> Path:
    """Folder of the order's stage: one clone a stage, so that stages do not wait for each other's."""
    return home / "work" / _digest(order.source) / quote(order.stage, safe="")


def check_out(order: Order, home: Path, place: Path) -> Path:
    """Bring the clone at `place` to the order's commit and edits; the DVC project's folder in it.

    Raises:
        OrderUnusable: the commit cannot be had, or the edits do not fit.
    """
    objects = home / "sources" / f"{_digest(order.source)}.git"
    clone = place / "clone"
    with one_at_a_time(objects.with_suffix(".lock")):
        _fetch(order, objects)
    if not (clone / ".git").is_dir():
        shutil.rmtree(clone, ignore_errors=True)
        _git(place, "clone", "--quiet", "--shared", "--no-checkout", str(objects), str(clone))
    (clone / ".git/index.lock").unlink(missing_ok=True)  # of one that was killed: nobody else is at work here
    _git(clone, *QUIETLY, "checkout", "--quiet", "--force", "--detach", order.commit)
    _git(clone, "clean", "--quiet", "-ffd", *KEPT)  # what git ignores stays: outputs, which are replaced
    if patch := unpacked(order.patch):
        # Into the index too: the next order's checkout then takes away what this one adds, even what git ignores.
        _git(clone, "apply", "--index", "--binary", "--whitespace=nowarn", "-", given=patch)
    return clone / order.folder


def _fetch(order: Order, objects: Path) -> None:
    """Have the order's commit among the objects of its source that lie here."""
    if not objects.is_dir():
        objects.mkdir(parents=True)
        _git(objects, "init", "--quiet", "--bare")
    if _has(objects, order.commit):
        return
    try:
        _git(
            objects,
            *QUIETLY,
            "fetch",
            "--quiet",
            "--prune",  # a branch `a` that is gone stands in the way of `a/b`
            order.source,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        )
        if not _has(objects, order.commit):  # on no branch
            _git(objects, *QUIETLY, "fetch", "--quiet", order.source, order.commit)
    except OrderUnusable as error:
        raise OrderUnusable(
            f"this worker cannot fetch the commit {order.commit[:10]} from {order.source} ({error}); push it to an "
            "address that workers reach, and name that with `git remote set-url origin URL`"
        ) from error


def _has(objects: Path, commit: str) -> bool:
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=objects, capture_output=True, check=False).returncode == 0


def _git(folder: Path, *arguments: str, given: bytes = b"") -> None:
    """Do something with git.

    Raises:
        OrderUnusable: it failed; the message is git's own.
    """
    settings = {"GIT_TERMINAL_PROMPT": "0"}  # nobody is there to ask for a password
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | settings, input=given, capture_output=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        verb = next(word for word in arguments if not word.startswith("-") and "=" not in word)
        raise OrderUnusable(f"git {verb}: {said}")


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]
