"""The working tree that a command works in: found from any folder below it, and one run at a time in it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.aside import anything_aside, put_all_back
from flows.processes import end_orphans
from stages.base.errors import InvalidInput

PATH = Path(".inkflow/run.lock")
MIRROR = "INKFLOW_MIRROR"  # where data sets lie; a folder's name starts where the caller is


def enter_project() -> None:
    """Make the DVC project around the current folder the current folder: paths in its files start there.

    Raises:
        InvalidInput: there is none.
    """
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)
    if root is None:
        raise InvalidInput(f"{here} is in no DVC project; go to the project's folder, or begin one with `dvc init`")
    mirror = os.environ.get(MIRROR)
    if mirror and "://" not in mirror:
        os.environ[MIRROR] = str(Path(mirror).absolute())  # stages run elsewhere too, as in the clones of a sweep
    os.chdir(root)


@contextmanager
def only_run_here(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the working tree at `root` for this process; the system lets it go when the process ends, however."""
    path = root / PATH
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another run is under way in this folder; waiting for its end ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock file `path` among processes: DVC takes another one's half-written run-cache entry for an entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)  # a cache is shared: who may not write it may hold it too
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def put_in_order(root: Path) -> None:
    """After a killed run: end what it left running, and put back what it had put aside."""
    if anything_aside(root):
        end_orphans(root.resolve())
        put_all_back(root)


def put_in_order_if_free(root: Path) -> None:
    """Put the folder in order as the next run would, unless a run is under way here."""
    if (root / PATH).exists():
        with (root / PATH).open("a") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            put_in_order(root)
