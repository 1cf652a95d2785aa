"""A copy of this project with small models, whose outputs after an undisturbed run are known, and all its checks."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from flows.engine.processes.command_runner import MARK
from stages.base.files import TEMPORARY
from tests.conftest import Project

OBJECTS = ".dvc/cache/files/md5"
STATE = (".git", ".inkflow", ".dvc/tmp", ".dvc/cache")  # everything else must be as after an undisturbed run
LONGEST_S = 600  # of a run on a busy machine
QUIET_S, QUIET_MODEL_S = 6.0, 4.0  # of an undisturbed run on two quiet cores: without models, and for each
END_S = 30  # for the processes of a run that has ended, on a busy machine
RUN = (sys.executable, "-m", "flows", "run", "--no-server", "--keep-going", "--jobs", "2")
SHORT: dict[str, Any] = {"optimizer": {"name": "adam", "learning_rate": 0.01}, "batch_size": 32, "epochs": 4}
DENSE: dict[str, Any] = {"network": "dense", "units": [16]} | SHORT
MODELS: dict[str, dict[str, Any]] = {
    "dense": DENSE,
    "cnn": {"network": "cnn", "filters": [4, 8], "units": [16], "output": "logits"} | SHORT,
    "augmented": DENSE | {"dropout": 0.1, "augmentation": {"shift": 0.05}},
    "seeds": DENSE | {"seeds": [0, 1]},
}


@dataclass(frozen=True)
class CrashProject:
    """A project in `folder` whose next run is to make the outputs with the digests `expected`."""

    folder: Path
    expected: Mapping[str, str]
    slowness: float  # of this machine: how much longer an undisturbed run took than on two quiet cores

    def copy(self, folder: Path) -> "CrashProject":
        """Copies the project as it is, with its cache."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)

    def start(self, environment: Mapping[str, str], *options: str) -> "RunningInkflow":
        """Starts `inkflow run`, with further variables and options."""
        return RunningInkflow(self.folder, {**_environment(self.folder), **environment}, options)

    def flaws(self, *options: str) -> str:
        """Runs the project to its end; returns everything that is then not as after an undisturbed run, or nothing.

        The checkpoint of a killed `inkflow run --force` waits for the next training: the last run has this option too.
        """
        done = _call(self.folder, *RUN, *options)
        if done.returncode:
            return f"the next run ended with {done.returncode}: {_end(done)}"
        found = [f"the next run printed a traceback: {_end(done)}"] if "Traceback" in done.stdout + done.stderr else []
        status = _call(self.folder, sys.executable, "-m", "dvc", "status", "--json")
        if status.stdout.strip() != "{}":
            found.append(f"dvc status: {status.stdout}{status.stderr}")
        found += _differences(self.expected, digests(self.folder))
        found += left_running(self.folder, END_S)
        found += [f"left locked: {path}" for path in locks(self.folder)]
        found += [f"left behind: {path}" for path in _leftovers(self.folder)]
        found += [f"in the cache: {problem}" for problem in damage(self.folder)]
        return "\n".join(found)


class RunningInkflow(subprocess.Popen[str]):
    """An `inkflow run` with its output in a pipe, since the disk may be full and the size of files limited."""

    def __init__(self, folder: Path, environment: Mapping[str, str], options: Sequence[str] = ()) -> None:
        super().__init__(
            [*RUN, *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self._lines.extend(self.stdout or ()), daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """All that the run printed, once it has ended; a process that it left behind may hold the pipe open."""
        self._reader.join(END_S)
        if self.stdout is not None and not self._reader.is_alive():
            self.stdout.close()
        return "".join(self._lines)


def make_projects(scratch: Path, models: Mapping[str, Mapping[str, Any]], *, with_earlier: bool) -> CrashProject:
    """Makes a project of which all is yet to be made, and the digests of an undisturbed run.

    Args:
        scratch: folder for the projects.
        models: the models.
        with_earlier: the project has the outputs of other parameters, which no stage of the next run can use.
    """
    base = scratch / "base"
    base.mkdir(parents=True)
    project = Project(base, base / ".dvc/cache")
    (base / ".dvc/config.local").unlink()
    plain = json.loads(json.dumps(models))  # no value twice: it would become a YAML alias, in dvc.lock too
    if with_earlier:
        project.set({"prepare.samples": [0, 400], "models": plain})
        project.set({"datasets.digits.title": "Digits"})
        _succeed(base)
        project.set({"datasets.digits.title": "Optical recognition"})
    project.set({"prepare.samples": [0, 500], "models": plain})
    reference = CrashProject(base, {}, 1).copy(scratch / "reference").folder
    started_s = time.monotonic()
    _succeed(reference)
    slowness = (time.monotonic() - started_s) / (QUIET_S + QUIET_MODEL_S * len(models))
    return CrashProject(base, digests(reference), slowness)


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of a project, by its path."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(_files(folder))}


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


def _environment(folder: Path) -> dict[str, str]:
    own = {"PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": f"{folder}.site", "SHELL": "/bin/sh"}
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "INKFLOW"))} | own


def _call(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=LONGEST_S
    )


def _succeed(folder: Path) -> None:
    done = _call(folder, *RUN)
    assert done.returncode == 0, f"the undisturbed run failed: {_end(done)}"


def _end(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stdout[-2000:] + done.stderr[-2000:]


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        here = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if str(here / name) not in STATE and name != "__pycache__"]
        yield from (str(here / name) for name in names)


def _differences(expected: Mapping[str, str], got: Mapping[str, str]) -> Iterator[str]:
    yield from (f"missing: {name}" for name in expected.keys() - got.keys())
    yield from (f"should not be there: {name}" for name in got.keys() - expected.keys())
    yield from (f"other bytes: {name}" for name in expected.keys() & got.keys() if expected[name] != got[name])


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
        yield from (f"rwlock: {kind} {names}" for kind, names in entries.items() if names)


def _leftovers(folder: Path) -> Iterator[str]:
    """Yields backups, checkpoints and partial files that nothing will use any more."""
    for place in (".inkflow/aside", ".inkflow/checkpoints"):
        yield from (str(path) for path in (folder / place).glob("*"))
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
