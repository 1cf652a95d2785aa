"""A worker makes its repositories again where git cannot use them, and keeps them where they are not at fault."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.core.errors import OrderUnusable
from flows.core.project import make_state_folder
from flows.workers.code_checkout import check_out
from flows.workers.order import Order
from tests.flows.workers.test_order import clone, git, order

__all__ = ["clone"]  # fixture

CHECKPOINT = ".inkflow/checkpoints/half"


class Worker:
    """The files of a worker that has executed one order, with a checkpoint of its stage."""

    def __init__(self, sent: Order, folder: Path) -> None:
        self.folder = folder
        (folder / "stage").mkdir(parents=True)
        root = self.execute(sent)
        make_state_folder(root)
        self.checkpoint = root / CHECKPOINT
        self.checkpoint.parent.mkdir(parents=True)
        self.checkpoint.touch()

    @property
    def clone(self) -> Path:
        """The clone of the stage."""
        return self.folder / "stage/clone"

    @property
    def objects(self) -> Path:
        """The repository with the objects of all clones."""
        [objects] = (self.folder / "home/sources").glob("*.git")
        return objects

    def execute(self, sent: Order) -> Path:
        """Checks out the code of an order, and returns the project's folder."""
        return check_out(sent, self.folder / "home", self.folder / "stage")


@pytest.fixture
def worker(clone: Path, tmp_path: Path) -> Worker:
    """A worker that has executed an order of the project."""
    return Worker(order(clone, "a"), tmp_path / "worker")


def push_change(clone: Path) -> Order:
    """Pushes a new commit of the project, and returns an order for it."""
    (clone / "a").write_text("two\n")
    git(clone, "commit", "--quiet", "--all", "--message", "two")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/later")
    return order(clone, "a")


def empty(repository: Path, *patterns: str) -> None:
    """Empties files of a repository, as a power cut does with those that were just written."""
    files = [path for pattern in patterns for path in repository.glob(pattern) if path.is_file()]
    assert files
    for path in files:
        path.chmod(0o644)
        path.write_bytes(b"")


DAMAGE: dict[str, Callable[[Worker], None]] = {
    "index of the clone": lambda worker: empty(worker.clone / ".git", "index"),
    "HEAD of the clone": lambda worker: empty(worker.clone / ".git", "HEAD"),
    "alternates of the clone": lambda worker: empty(worker.clone / ".git", "objects/info/alternates"),
    "HEAD of the objects": lambda worker: empty(worker.objects, "HEAD"),
    "settings of the objects": lambda worker: empty(worker.objects, "config"),
    "branches": lambda worker: empty(worker.objects, "refs/heads/*", "packed-refs*"),
    "objects": lambda worker: empty(worker.objects, "objects/??/*", "objects/pack/*.pack"),
}


@pytest.mark.parametrize("is_new", [False, True], ids=["same commit", "new commit"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_repositories_are_made_again(
    clone: Path, worker: Worker, damage: Callable[[Worker], None], is_new: bool
) -> None:
    """After a power cut the next order is executed, and the stage goes on with its checkpoint."""
    sent = push_change(clone) if is_new else order(clone, "a")
    damage(worker)
    for _ in range(2):
        assert (worker.execute(sent) / "a").read_text() == ("two\n" if is_new else "one\n")
        assert worker.checkpoint.exists()
    left = {path.name for folder in (worker.clone.parent, worker.objects.parent) for path in folder.iterdir()}
    assert left == {"clone", worker.objects.name, worker.objects.with_suffix(".lock").name}


def test_a_worker_s_folder_can_be_moved(clone: Path, worker: Worker, tmp_path: Path) -> None:
    """Orders are executed in a folder that was moved, where the clones name the old place of the objects."""
    moved = tmp_path / "moved"
    worker.folder.rename(moved)
    root = check_out(order(clone, "a"), moved / "home", moved / "stage")
    assert ((root / "a").read_text(), (root / CHECKPOINT).exists()) == ("one\n", True)


def test_repositories_that_are_not_at_fault_stay(clone: Path, worker: Worker, tmp_path: Path) -> None:
    """A source that is away, and a patch that does not apply, fail the order and cost no repository."""
    sent = order(clone, "a")
    (worker.objects / "same").touch()
    (worker.clone / "same").touch()
    later = push_change(clone)
    origin = tmp_path / "origin"
    origin.rename(tmp_path / "away")
    with pytest.raises(OrderUnusable, match="cannot fetch the commit"):
        worker.execute(later)
    assert (worker.clone / "same").exists()
    shutil.move(tmp_path / "away", origin)
    (clone / "a").write_text("three\n")
    patch = order(clone, "a").patch  # of the later commit
    with pytest.raises(OrderUnusable, match="patch"):
        worker.execute(sent.model_copy(update={"patch": patch}))
    assert (worker.objects / "same").exists() and worker.checkpoint.exists()
    assert (worker.execute(sent) / "a").read_text() == "one\n"
