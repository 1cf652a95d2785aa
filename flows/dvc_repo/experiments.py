"""Clones of a project in which stages run without touching it, and what DVC records of each as an experiment.

A clone has the commit that is checked out, with the uncommitted changes of tracked files at the moment when the
sweep began. It shares git's objects and DVC's cache with the project, so what one clone has run, all can restore;
where nothing is to be restored, it has an empty cache of its own.
Clones lie in .dvc/tmp, which neither git nor DVC looks at.
"""

import shutil
import subprocess
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.core.errors import DvcFailed, PipelineInvalid
from flows.dvc_repo.dvc_facts import files_of, path_of
from flows.engine.processes.command_runner import end_orphans
from stages.base.errors import InvalidInput

FOLDER = Path(".dvc/tmp/inkflow")
QUIETLY = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")  # no housekeeping while clones borrow objects
PERSON = {"user.name": "Inkflow", "user.email": "inkflow@localhost"}  # where git knows nobody, as in a container


class Experiments:
    """The project whose clones are made, as it was at one moment."""

    def __init__(self, root: Path) -> None:
        try:
            with Repo(str(root)) as repo:
                self._root = Path(repo.root_dir)
                self._cache = str(repo.cache.local_cache_dir)
                self._config: dict[str, Any] = repo.config.load_one("repo")
                _merge(self._config, repo.config.load_one("local"))
        except DvcException as error:
            raise PipelineInvalid(f"DVC cannot read the pipeline: {error}") from error
        if not _succeeds(self._root, "rev-parse", "--verify", "HEAD"):
            raise InvalidInput("the project is cloned from a git commit, and there is none yet; commit first")
        self.folder = self._root / FOLDER
        self._head = _git(self._root, "rev-parse", "HEAD")
        self._prefix = _git(self._root, "rev-parse", "--show-prefix")
        person = [word for item in _missing_person(self._root).items() for word in ("-c", "=".join(item))]
        self._snapshot = _git(self._root, *person, "stash", "create") or self._head
        self._one_at_a_time = threading.Lock()

    def remove_leftovers(self) -> None:
        """Remove clones of a run that was killed, and end what still runs in them."""
        for clone in self._clones():
            end_orphans(clone / self._prefix)
            shutil.rmtree(clone, ignore_errors=True)

    @contextmanager
    def clone(self, name: str, *, own_cache: bool = False) -> Iterator[Path]:
        """The project's folder in a fresh clone, which is removed with the block."""
        clone = self.folder / name
        try:
            top = _git(self._root, "rev-parse", "--show-toplevel")
            _git(self._root, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", top, str(clone))
            _git(clone, "update-ref", "--no-deref", "HEAD", self._head)
            _git(clone, "read-tree", "-u", "--reset", self._snapshot)
            for key, value in _missing_person(self._root).items():
                _git(clone, "config", key, value)
            project = clone / self._prefix
            self._configure(project, str(project / ".dvc" / "cache") if own_cache else self._cache)
            yield project
        finally:
            shutil.rmtree(clone, ignore_errors=True)

    def collect(self, project: Path, name: str) -> None:
        """Bring the experiment `name` from a clone into the project's git."""
        ref = f"refs/exps/{self._head[:2]}/{self._head[2:]}/{name}"
        with self._one_at_a_time:
            _git(self._root, *QUIETLY, "fetch", "--quiet", "--no-write-fetch-head", str(project), f"+{ref}:{ref}")

    def clear(self, project: Path, names: Collection[str]) -> None:
        """Make a clone one in which the stages `names` can run anew: what they read is there, what they make is not."""
        with Repo(str(self._root)) as repo:
            stages = [stage for stage in repo.index.stages if stage.addressing in names]
            made = [path_of(out) for stage in stages for out in stage.outs]
            read = {path for stage in stages for dep in stage.deps for path in files_of(dep)}
        for output in made:
            _remove(project / output)
        for path in sorted(read):
            if not any(Path(path).is_relative_to(output) for output in made) and not (project / path).exists():
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._root / path, project / path)

    def _clones(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if (path / ".git").is_dir()] if self.folder.is_dir() else []

    def _configure(self, project: Path, cache: str) -> None:
        """Give the clone the project's settings, with paths that hold from there, and a cache."""
        with Config(str(project / ".dvc"), validate=False).edit("local", validate=False) as config:
            _merge(config, self._config)
            config["cache"]["dir"] = cache
            config["core"]["site_cache_dir"] = str(project / ".dvc" / "tmp" / "site")


def save(name: str, targets: Sequence[str], outputs: Sequence[str]) -> None:
    """Save the project in the current folder, a clone, as the experiment `name`.

    Args:
        name: of the experiment; one that has it already on the same commit is replaced.
        targets: the stages that were brought up to date; all when empty.
        outputs: theirs; those that git does not know yet and DVC does not keep belong to the experiment too.

    Raises:
        DvcFailed: DVC could not save it.
    """
    untracked = _git(Path(), "ls-files", "-z", "--others", "--", *outputs).split("\0") if outputs else []
    try:
        with Repo() as repo:
            kept = {str(out) for out in repo.index.outs if not out.use_cache}
            included = [path for path in untracked if path in kept]
            repo.experiments.save(targets=list(targets), name=name, force=True, include_untracked=included)
    except DvcException as error:
        raise DvcFailed(f"DVC cannot save the experiment {name}: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def _missing_person(root: Path) -> dict[str, str]:
    """Who git shall name as the author where nobody told it."""
    return {key: value for key, value in PERSON.items() if not _succeeds(root, "config", key)}


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; Ctrl-C at a terminal does not reach it.

    Raises:
        DvcFailed: it failed; the message is its own.
    """
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise DvcFailed(f"git {arguments[0]}: {said}")
    return done.stdout.strip()


def _succeeds(folder: Path, *arguments: str) -> bool:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False).returncode == 0
