"""A copy of this project with small models, whose outputs after an undisturbed run are known, and all its checks."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.conftest import Project
from tests.support.root import ROOT
from tests.torture.support.leftovers import checkpoints, damage, left_running, locks, partial_files, suspended

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

    def flaws(self, *options: str, after_force: bool = False) -> str:
        """Runs the project to its end; returns everything that is then not as after an undisturbed run, or nothing.

        Args:
            options: further options of `inkflow run`.
            after_force: an `inkflow run --force` was killed: its checkpoints wait for the next training and may stay.
        """
        spared = {*checkpoints(self.folder)} if after_force else set()
        done = _call(self.folder, *RUN, *options)
        if done.returncode:
            return f"the next run ended with {done.returncode}: {_end(done)}"
        found = [f"the next run printed a traceback: {_end(done)}"] if "Traceback" in done.stdout + done.stderr else []
        found += self.wrong_results()
        found += left_running(self.folder, END_S)
        found += [f"left locked: {path}" for path in locks(self.folder)]
        left = [*({*checkpoints(self.folder)} - spared), *partial_files(self.folder)]
        found += [f"left behind: {path}" for path in left]
        found += [f"in the cache: {problem}" for problem in damage(self.folder)]
        return "\n".join(found)

    def last_flaws(self, *, after_force: bool) -> str:
        """Returns the `flaws` of a plain run and, after runs with `--force`, of one that leaves no checkpoint."""
        found = [self.flaws(after_force=after_force), self.flaws("--force") if after_force else ""]
        return "\n".join(filter(None, found))

    def flaws_of_copy(self, *, after_force: bool) -> str:
        """Returns the `flaws` of a plain run in a copy; the processes of the project are stopped while it is made."""
        with tempfile.TemporaryDirectory(prefix="inkflow-copy-") as scratch:
            with suspended(self.folder):
                copy = self.copy(Path(scratch) / self.folder.name)
            found = copy.flaws(after_force=after_force)
        return f"in a copy: {found}" if found else ""

    def wrong_results(self) -> list[str]:
        """Returns the files with other bytes than after an undisturbed run, and what `dvc status` takes for changed."""
        status = _call(self.folder, sys.executable, "-m", "dvc", "status", "--json")
        stale = [f"dvc status: {status.stdout}{status.stderr}"] if status.stdout.strip() != "{}" else []
        return [*stale, *_differences(self.expected, digests(self.folder))]


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
        succeed(base)
        project.set({"datasets.digits.title": "Optical recognition"})
    project.set({"prepare.samples": [0, 500], "models": plain})
    reference = CrashProject(base, {}, 1).copy(scratch / "reference").folder
    started_s = time.monotonic()
    succeed(reference)
    slowness = (time.monotonic() - started_s) / (QUIET_S + QUIET_MODEL_S * len(models))
    return CrashProject(base, digests(reference), slowness)


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of a project, by its path."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(_files(folder))}


def _environment(folder: Path) -> dict[str, str]:
    own = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "DVC_SITE_CACHE_DIR": f"{folder}.site", "SHELL": "/bin/sh"}
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "INKFLOW"))} | own


def _call(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=LONGEST_S
    )


def succeed(folder: Path) -> None:
    """Runs the project undisturbed."""
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
