"""Clones of a project, in which stages run without changing it, and DVC experiments made in them.

A clone has the commit that is checked out, with the uncommitted changes of tracked files when `ProjectClones` was
created, submodules included (`flows.core.git_snapshot`). It shares git's objects and, unless it has a cache of its
own, DVC's cache with the project, so that a result of one clone can be restored in all. Clones lie in .dvc/tmp, which
git and DVC ignore.
"""

import hashlib
import os
import posixpath
import shutil
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.config import merge
from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml.error import YAMLError

from flows.core.errors import DvcFailed
from flows.core.git import add_changes, copy_address, git_names, git_succeeds, git_text, require_repository, run_git
from flows.core.git_snapshot import committed_snapshot, take_snapshot
from flows.core.own_data import finish_copies
from flows.core.params_edit import PATH as PARAMS
from flows.core.project import CLONES, STATE, name_places
from flows.dvc_repo.change_detection import files_of, path_of
from flows.dvc_repo.code.old_content import FOLDER as CODE_STORE
from flows.dvc_repo.dvc_config import write_local_config
from flows.dvc_repo.opening import open_repo
from flows.engine.output_backup import remove_path
from flows.engine.processes.command_runner import terminate_orphans
from stages.base.errors import InvalidInput
from stages.base.yaml_text import parse_yaml

NO_GC = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")  # clones use the project's objects
LOCK_FILES = ":(glob)**/dvc.lock"
ENVIRONMENT_LOCK = "environment.lock"
IDENTITY = {"user.name": "Inkflow", "user.email": "inkflow@localhost"}  # where git has none, as in a container


class ProjectClones:
    """Makes clones of a project as it is when this object is created."""

    def __init__(self, root: Path, *, committed: bool = False, experiments: bool = True) -> None:
        """Reads the project.

        Args:
            root: its folder.
            committed: clones have the files of its commit, without later changes.
            experiments: the clones are for DVC experiments.

        Raises:
            InvalidInput: the project has no repository or commit, or it can have no DVC experiments.
        """
        with open_repo(root) as repo:
            self._root = Path(repo.root_dir)
            self._cache = str(repo.cache.local_cache_dir)
            self._config: dict[str, Any] = repo.config.load_one("repo")
            merge(self._config, repo.config.load_one("local"))
            without_git = repo.config["core"].get("no_scm", False)
        require_repository(self._root, "and clones need one")
        if experiments and without_git:
            raise InvalidInput(
                f"DVC does not use git in {self._root} (core.no_scm), and its experiments are git commits; "
                "`dvc config core.no_scm false`, `git add .dvc/config`, then commit"
            )
        top = git_text(["rev-parse", "--show-toplevel"], self._root)
        self.folder = self._root / CLONES
        self._prefix = git_text(["rev-parse", "--show-prefix"], self._root)
        # The repository's own settings may have it, and a clone has none of those.
        named = {key: git_text(["config", key], self._root, allowed=[1]) for key in IDENTITY}
        self._identity = {key: named[key] or value for key, value in IDENTITY.items()}
        self._snapshot = committed_snapshot(Path(top)) if committed else take_snapshot(Path(top))
        if experiments and not self._has_dvc_folder():
            raise InvalidInput(
                f"git tracks no file of {self._root / Repo.DVC_DIR}, and an experiment is a commit of a DVC project; "
                "`git add --force .dvc/config`, then commit"
            )
        self._fetch_lock = threading.Lock()

    def _has_dvc_folder(self) -> bool:
        """Return True if the snapshot has the folder .dvc of the project."""
        listed = ["ls-tree", "-z", "--full-tree", "--name-only", self._snapshot.tree]
        return bool(git_names([*listed, "--", self._in_git(Repo.DVC_DIR)], self._root))

    def remove_leftovers(self) -> None:
        """Remove the clones of a run that was killed, and end the processes that still run in them.

        Own data, which clones read in the project, are finished too. The run lock of the clones' folder is held when it
        is called.
        """
        remove_clones(self._root, self._prefix)
        finish_copies(self._root)

    @contextmanager
    def clone(self, name: str, *, own_cache: bool = False) -> Iterator[Path]:
        """Yield the project's folder in a new clone, which is removed at the end of the block.

        Programs that this process starts from now on find what the project alone has, such as own data.
        """
        name_places(self._root)  # a worker that was started by hand, or in another project, has not done so
        clone = self.folder / name
        shutil.rmtree(clone, ignore_errors=True)  # the rest of one that an earlier call could not remove
        try:
            self._snapshot.clone(clone)
            for key, value in self._identity.items():
                run_git(["config", key, value], clone)
            project = clone / self._prefix
            self._configure(project, str(project / ".dvc" / "cache") if own_cache else self._cache)
            yield project
        finally:
            shutil.rmtree(clone, ignore_errors=True)

    def copy_origin(self, project: Path) -> None:
        """Give the clone at `project` the project's own origin, from which workers of pools fetch commits."""
        if copy_address(self._snapshot.top, project):
            branches = "refs/remotes/origin/*"
            fetch = [*NO_GC, "fetch", "--quiet", "--prune", "--no-tags", "--no-recurse-submodules"]
            run_git([*fetch, str(self._snapshot.top), f"+{branches}:{branches}"], project)

    @property
    def commit(self) -> str:
        """The commit of the project that clones have checked out."""
        return self._snapshot.head

    def entries(self) -> list[str]:
        """Return git's entries of the tracked files that trials can read: mode, type and hash, a tab, and the path.

        Paths are relative to the project's folder. Of files outside of it, those that stages depend on are included.
        """
        entries = git_names(["ls-tree", "-r", "-z", "--full-tree", self._snapshot.tree], self._root)
        if not self._prefix:
            return entries
        needed, found = set(map(self._in_git, _dependencies(self._root))), []
        for facts, _, name in (entry.partition("\t") for entry in entries):
            if name.startswith(self._prefix) or _is_in(name, needed):
                found.append(f"{facts}\t{posixpath.relpath(name, self._prefix)}")
        return found

    def fetch_experiment(self, project: Path, name: str, files: Collection[str] = ()) -> str:
        """Fetch the experiment `name` from the clone at `project` into the project's git repository.

        Args:
            project: the clone.
            name: of the experiment.
            files: files with parameters, besides params.yaml, that tell experiments apart.

        Returns:
            Its name there: an experiment of that name is replaced if it has the same parameters, pipeline and inputs of
            stages; if not, the new one gets a name with a digest of its own.
        """
        head = self._snapshot.head
        folder = f"refs/exps/{head[:2]}/{head[2:]}"
        source = git_text(["rev-parse", "--show-toplevel"], project)
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
        with self._fetch_lock:
            paths = [str(PARAMS), *(file for file in sorted(files) if file != str(PARAMS))]
            revision, target = f"{folder}/{name}", name
            if git_succeeds(["show-ref", "--verify", revision], self._root):
                dependencies = _dependencies(project)
                inputs = self._inputs(revision, project, paths, dependencies)
                if self._inputs(revision, self._root, paths, dependencies) != inputs:
                    target = f"{name}-{hashlib.sha256(repr(inputs).encode()).hexdigest()[:8]}"
            run_git([*NO_GC, "fetch", *options, source, f"+{folder}/{name}:{folder}/{target}"], self._root)
        return target

    def _inputs(self, revision: str, folder: Path, paths: Sequence[str], dependencies: Collection[str]) -> list[Any]:
        """Return what a revision was made from: contents of the files with parameters, git's entries of other inputs.

        Args:
            revision: a revision of the repository around `folder`.
            folder: a folder.
            paths: files with parameters.
            dependencies: files and folders that stages depend on.
        """
        inputs: list[Any] = [self._content(revision, folder, self._in_git(path)) for path in paths]
        own, others = (set(map(self._in_git, names)) for names in (paths, dependencies))
        for entry in git_names(["ls-tree", "-r", "-z", "--full-tree", revision], folder):
            file = PurePosixPath(entry.partition("\t")[2])
            is_pipeline = file.name == "dvc.yaml" or file.suffix == ".dvc"
            if str(file) not in own and (is_pipeline or _is_in(str(file), others)):
                inputs.append(entry)
        return inputs

    def _in_git(self, path: str) -> str:
        """Return the path from the top of the repository of what has this one from the project's folder."""
        return posixpath.normpath(f"{self._prefix}{path}")

    def _content(self, revision: str, folder: Path, name: str) -> Any:
        """Return the content of the file `name` in a revision; None without one."""
        if not git_names(["ls-tree", "-z", "--full-tree", "--name-only", revision, "--", name], folder):
            return None
        text = git_text(["show", f"{revision}:{name}"], folder)
        try:
            return parse_yaml(text)
        except (YAMLError, ValueError):
            return text  # of another format, or of an experiment that another program made

    def prepare_rerun(self, project: Path, names: Collection[str]) -> None:
        """Prepare the clone at `project` for running the stages `names`: remove their outputs, copy their inputs."""
        with Repo(str(self._root)) as repo:
            stages = [stage for stage in repo.index.stages if stage.addressing in names]
            outputs = [path_of(out) for stage in stages for out in stage.outs]
            inputs = {path for stage in stages for dep in stage.deps for path in files_of(dep)}
        for output in outputs:
            remove_path(project / output)
        for path in sorted(inputs):
            if not any(Path(path).is_relative_to(output) for output in outputs) and not (project / path).exists():
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._root / path, project / path)

    def _configure(self, project: Path, cache: str) -> None:
        """Configure DVC in a clone: the project's settings, with absolute paths, and `cache`."""
        config = deepcopy(self._config)
        merge(config, {"cache": {"dir": cache}, "core": {"site_cache_dir": str(project / ".dvc" / "tmp" / "site")}})
        write_local_config(project, config)


def remove_clones(root: Path, prefix: str) -> None:
    """Remove what killed runs left of the clones of the project at `root`, and end the processes that run in them.

    A killed removal can have left a part of a clone, without its repository. The store of earlier code stays.

    Args:
        root: the project.
        prefix: the project's folder in its repository.
    """
    kept = (STATE.name, CODE_STORE.name)
    folders = [path for path in (root / CLONES).glob("*") if path.is_dir() and path.name not in kept]
    for clone in folders:
        terminate_orphans((clone / prefix).resolve())
        shutil.rmtree(clone, ignore_errors=True)


def save_experiment(name: str, targets: Sequence[str], outputs: Sequence[str]) -> None:
    """Save the state of the project in the current folder, which is a clone, as a DVC experiment.

    Args:
        name: name of the experiment; an experiment of that name on the same commit is replaced.
        targets: stages to save; all when empty.
        outputs: outputs of those stages; untracked ones that DVC does not cache are added to the experiment.

    Raises:
        DvcFailed: DVC could not save it.
    """
    add_changes(Path())  # an index that differs from both HEAD and the files is a conflict
    try:
        with Repo() as repo:
            included = _untracked_results(repo, outputs)
            repo.experiments.save(targets=list(targets), name=name, force=True, include_untracked=included)
    except DvcException as error:
        raise DvcFailed(f"DVC cannot save the experiment {name}: {error}") from error


def stage_results(outputs: Sequence[str]) -> str:
    """Add the state of the project in the current folder, which is a clone, to the index; return Git's tree of it.

    Args:
        outputs: outputs of the stages that ran; untracked ones that DVC does not cache are added.
    """
    with Repo() as repo:
        included = _untracked_results(repo, outputs)
    add_changes(Path())
    if included:  # from standard input: a folder may have more files than a command line can
        names = ["--pathspec-from-file=-", "--pathspec-file-nul"]
        run_git(["--literal-pathspecs", "add", "--force", *names], Path(), stdin=os.fsencode("\0".join(included)))
    return git_text(["write-tree"], Path())


def _untracked_results(repo: Repo, outputs: Sequence[str]) -> list[str]:
    """Return the untracked files that belong to a commit of the `outputs`: dvc.lock, and what DVC does not cache."""
    patterns = [LOCK_FILES, ENVIRONMENT_LOCK, *(f":(literal){output}" for output in outputs)]
    untracked = git_names(["ls-files", "-z", "--others", "--", *patterns], Path())
    uncached = {str(out) for out in repo.index.outs if not out.use_cache}
    # DVC itself adds a new dvc.lock only at the top of the git repository.
    return [path for path in untracked if Path(path).name in ("dvc.lock", ENVIRONMENT_LOCK) or _is_in(path, uncached)]


def _is_in(name: str, names: Collection[str]) -> bool:
    """True if a path or a folder around it is in `names`."""
    return any(str(each) in names for each in (PurePosixPath(name), *PurePosixPath(name).parents))


def _dependencies(project: Path) -> set[str]:
    """Return the paths that the stages of a project depend on and do not make themselves."""
    with Repo(str(project)) as repo:
        outputs = {path_of(out) for out in repo.index.outs}
        paths = {path_of(dep) for stage in repo.index.stages for dep in stage.deps if dep.fs_path}
        return {path for path in paths if not _is_in(path, outputs)}
