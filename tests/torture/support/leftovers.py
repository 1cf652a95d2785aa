"""What a run must not leave: processes, locks, partial files, and objects of DVC's cache with other bytes."""

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from flows.engine.processes.command_runner import MARK
from stages.base.files import TEMPORARY
from tests.conftest import wait_until

OBJECTS = ".dvc/cache/files/md5"


def processes(folder: Path) -> list[psutil.Process]:
    """Returns the processes that work in or for the project in `folder`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            cwd = Path(process.cwd())
            if process.environ().get(MARK, "").endswith(f":{folder}") or folder in (cwd, *cwd.parents):
                found.append(process)
    return found


def left_running(folder: Path, wait_s: float) -> list[str]:
    """Returns the processes of the project that do not end within `wait_s`, each as a sentence."""
    end = time.monotonic() + wait_s
    while (left := processes(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    found = []
    for process in left:
        with suppress(psutil.Error):
            found.append(f"left running: {process.pid} {process.cmdline()}")
    return found


@contextmanager
def suspended(folder: Path) -> Iterator[None]:
    """Stops the processes of the project in `folder` for the length of the block: its files stay as they are."""
    stopped: set[psutil.Process] = set()
    try:
        while new := {*processes(folder)} - stopped:
            stopped |= new
            for process in new:
                with suppress(psutil.Error):
                    process.suspend()
            for process in new:
                _wait_until_stopped(process)
        yield
    finally:
        for process in stopped:
            with suppress(psutil.Error):
                process.resume()


def _wait_until_stopped(process: psutil.Process) -> None:
    """Waits: SIGSTOP takes effect only when the kernel next schedules the process."""
    stopped = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    with suppress(psutil.NoSuchProcess):
        wait_until(lambda: process.status() in stopped, timeout_s=30)


def locks(folder: Path) -> Iterator[str]:
    """Yields the locks that are held, and the entries of DVC's list of files in use.

    Inkflow holds files of other names too: run.queue, slots and mutexes in sharing/, owners of a search's trials.
    """
    for path in [*(folder / ".dvc").rglob("*lock*"), *(folder / ".inkflow").rglob("*")]:
        if path.is_file():
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield str(path)
    with suppress(FileNotFoundError):
        entries = json.loads((folder / ".dvc/tmp/rwlock").read_text() or "{}")
        for kind, name in ((kind, name) for kind, holders in entries.items() for name in holders if holders[name]):
            if Path(name).is_relative_to(folder.resolve()):  # a copy has the entries of a run of the original, too
                yield f"rwlock: {kind} {name}"


def checkpoints(folder: Path) -> Iterator[str]:
    """Yields the checkpoints of trainings that did not end."""
    yield from (str(path) for path in (folder / ".inkflow/checkpoints").glob("*"))


def partial_files(folder: Path) -> Iterator[str]:
    """Yields backups and partial files, which no run will use any more."""
    yield from (str(path) for path in (folder / ".inkflow/aside").glob("*"))
    for place in (".inkflow", ".dvc"):
        yield from (str(path) for path in (folder / place).rglob("*") if _is_partial(path))


def _is_partial(path: Path) -> bool:
    is_named_so = path.suffix in (".tmp", ".new", ".moving") or TEMPORARY.fullmatch(path.name) is not None
    return is_named_so and not _is_of_dvc(path)


def _is_of_dvc(path: Path) -> bool:
    """Returns whether a killed DVC left this file in its cache, which `inkflow prune` removes."""
    return ".dvc/cache" in path.as_posix() and re.fullmatch(r"\.[\w-]{22}\.tmp", path.name) is not None


def damage(folder: Path) -> Iterator[str]:
    """Yields the objects of DVC's cache with other bytes, files that are no object, and what the cache lacks."""
    yield from wrong_names(path for path in (folder / OBJECTS).glob("*/*") if not _is_of_dvc(path))
    for output, path in _recorded(folder):
        if not path.exists():
            yield f"no object {path} for {output}"
        elif path.suffix == ".dir":
            for entry in json.loads(path.read_text()):
                if not _object(folder, entry["md5"]).exists():
                    yield f"no object for {output}/{entry['relpath']}"


def wrong_names(paths: Iterable[Path]) -> Iterator[str]:
    """Yields the files in DVC's cache whose MD5 is not their name."""
    for path in paths:
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if path.parent.name + path.name.removesuffix(".dir") != digest:
            yield f"{path} has the MD5 {digest}"


def is_object(path: Path) -> bool:
    """Returns whether a file in DVC's cache has the name of an object: DVC writes it under another one before."""
    return re.fullmatch(r"[0-9a-f]{32}(\.dir)?", path.parent.name + path.name) is not None


def _recorded(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields the outputs that dvc.lock names and DVC keeps in its cache, with the path of their object."""
    outside = list(_outside_the_cache(folder))
    lock = YAML(typ="safe").load(folder / "dvc.lock") if (folder / "dvc.lock").exists() else {"stages": {}}
    for out in (out for stage in lock["stages"].values() for out in stage.get("outs", [])):
        if not any(fnmatch(out["path"], pattern) for pattern in outside):
            yield out["path"], _object(folder, out["md5"])


def _outside_the_cache(folder: Path) -> Iterator[str]:
    """Yields the outputs that dvc.yaml declares with `cache: false`, as patterns."""
    for stage in YAML(typ="safe").load(folder / "dvc.yaml")["stages"].values():
        body = stage.get("do", stage)
        for entry in (entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])):
            options = entry if isinstance(entry, dict) else {}
            for path, given in options.items():
                if (given or {}).get("cache") is False:
                    yield re.sub(r"\$\{[^}]*\}", "*", path)


def _object(folder: Path, digest: str) -> Path:
    return folder / OBJECTS / digest[:2] / digest[2:]
