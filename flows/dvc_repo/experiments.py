"""Clones of a project, in which stages run without changing it, and DVC experiments made in them.

A clone has the commit that is checked out, with the uncommitted changes of tracked files when `ProjectClones` was
created. It shares git's objects and, unless it has a cache of its own, DVC's cache with the project, so that a result
of one clone can be restored in all. Clones lie in .dvc/tmp, which git and DVC ignore.
"""

import shutil
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.config import merge
from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.core.errors import DvcFailed, PipelineInvalid
from flows.dvc_repo.dvc_facts import files_of, path_of
from flows.dvc_repo.git import git, git_succeeds
from flows.dvc_repo.local_config import write_local_config
from flows.engine.processes.command_runner import terminate_orphans
from stages.base.errors import InvalidInput

CLONES = Path(".dvc/tmp/inkflow")
NO_GC = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")  # clones use the project's objects
IDENTITY = {"user.name": "Inkflow", "user.email": "inkflow@localhost"}  # where git has none, as in a container


class ProjectClones:
    """Makes clones of a project as it is when this object is created."""

    def __init__(self, root: Path) -> None:
        try:
            with Repo(str(root)) as repo:
                self._root = Path(repo.root_dir)
                self._cache = str(repo.cache.local_cache_dir)
                self._config: dict[str, Any] = repo.config.load_one("repo")
                merge(self._config, repo.config.load_one("local"))
        except DvcException as error:
            raise PipelineInvalid(f"DVC cannot read the pipeline: {error}") from error
        if not git_succeeds(self._root, "rev-parse", "--verify", "HEAD"):
            raise InvalidInput("the project is cloned from a git commit, and there is none yet; commit first")
        self.folder = self._root / CLONES
        self._head = git(self._root, "rev-parse", "HEAD")
        self._prefix = git(self._root, "rev-parse", "--show-prefix")
        self._identity = {key: value for key, value in IDENTITY.items() if not git_succeeds(self._root, "config", key)}
        options = [word for key, value in self._identity.items() for word in ("-c", f"{key}={value}")]
        self._snapshot = git(self._root, *options, "stash", "create") or self._head
        self._fetch_lock = threading.Lock()

    def remove_leftovers(self) -> None:
        """Remove the clones of a run that was killed, and end the processes that still run in them."""
        clones = [path for path in self.folder.iterdir() if (path / ".git").is_dir()] if self.folder.is_dir() else []
        for clone in clones:
            terminate_orphans(clone / self._prefix)
            shutil.rmtree(clone, ignore_errors=True)

    @contextmanager
    def clone(self, name: str, *, own_cache: bool = False) -> Iterator[Path]:
        """Yield the project's folder in a new clone, which is removed at the end of the block."""
        clone = self.folder / name
        try:
            top = git(self._root, "rev-parse", "--show-toplevel")
            git(self._root, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", top, str(clone))
            git(clone, "update-ref", "--no-deref", "HEAD", self._head)
            git(clone, "read-tree", "-u", "--reset", self._snapshot)
            for key, value in self._identity.items():
                git(clone, "config", key, value)
            project = clone / self._prefix
            self._configure(project, str(project / ".dvc" / "cache") if own_cache else self._cache)
            yield project
        finally:
            shutil.rmtree(clone, ignore_errors=True)

    def fetch_experiment(self, project: Path, name: str) -> None:
        """Fetch the experiment `name` from the clone at `project` into the project's git repository."""
        ref = f"refs/exps/{self._head[:2]}/{self._head[2:]}/{name}"
        with self._fetch_lock:
            git(self._root, *NO_GC, "fetch", "--quiet", "--no-write-fetch-head", str(project), f"+{ref}:{ref}")

    def prepare_rerun(self, project: Path, names: Collection[str]) -> None:
        """Prepare the clone at `project` for running the stages `names`: remove their outputs, copy their inputs."""
        with Repo(str(self._root)) as repo:
            stages = [stage for stage in repo.index.stages if stage.addressing in names]
            outputs = [path_of(out) for stage in stages for out in stage.outs]
            inputs = {path for stage in stages for dep in stage.deps for path in files_of(dep)}
        for output in outputs:
            _remove(project / output)
        for path in sorted(inputs):
            if not any(Path(path).is_relative_to(output) for output in outputs) and not (project / path).exists():
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._root / path, project / path)

    def _configure(self, project: Path, cache: str) -> None:
        """Configure DVC in a clone: the project's settings, with absolute paths, and `cache`."""
        site = str(project / ".dvc" / "tmp" / "site")
        config = {section: dict(options) for section, options in self._config.items()}
        merge(config, {"cache": {"dir": cache}, "core": {"site_cache_dir": site}})
        write_local_config(project, config)


def save_experiment(name: str, targets: Sequence[str], outputs: Sequence[str]) -> None:
    """Save the state of the project in the current folder, which is a clone, as a DVC experiment.

    Args:
        name: name of the experiment; an experiment of that name on the same commit is replaced.
        targets: stages to save; all when empty.
        outputs: outputs of those stages; untracked ones that DVC does not cache are added to the experiment.

    Raises:
        DvcFailed: DVC could not save it.
    """
    untracked = git(Path(), "ls-files", "-z", "--others", "--", *outputs).split("\0") if outputs else []
    try:
        with Repo() as repo:
            uncached = {str(out) for out in repo.index.outs if not out.use_cache}
            included = [path for path in untracked if path in uncached]
            repo.experiments.save(targets=list(targets), name=name, force=True, include_untracked=included)
    except DvcException as error:
        raise DvcFailed(f"DVC cannot save the experiment {name}: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
