"""Files of another version of the project, from git, DVC's cache or its remote."""

import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import RevError, SCMError

from flows.core.errors import RevisionUnusable
from flows.core.file_lock import emptied_folder
from flows.core.project import STATE, make_state_folder
from flows.dvc_repo.change_detection import value_of
from flows.dvc_repo.damaged_objects import report_damaged_lists, set_damaged_aside
from flows.dvc_repo.history import versions
from flows.dvc_repo.history.links import Links, folder_lists
from flows.dvc_repo.locking import print_to_stderr
from flows.dvc_repo.opening import open_repo
from flows.dvc_repo.versions.artifacts import cached_file
from flows.dvc_repo.versions.version_diff import WORKSPACE, ensure_versions, no_such_version
from stages.base.config import Name, load_section
from stages.base.errors import InkflowError, ParamsError, machine_fault

FETCH_LOCK = STATE / "fetch.lock"
PARTS = ".fetched"  # folder of a file that is on its way, beside its target: it is moved within one file system
# Inputs of the report.
DATA_FILES = ("data/raw/dataset.json", "data/raw/dataset.npz", "data/prepared/prepared.json")
MODEL_FILES = (
    "models/{name}/training.json",
    "models/{name}/history.csv",
    "models/{name}/model.onnx",
    "evaluation/{name}/metrics.json",
    "evaluation/{name}/predictions.parquet",
)


def fetch_run(root: Path, revision: str, target: Path) -> None:
    """Copy the report's input files as of `revision` (a commit, branch or experiment) into the folder `target`.

    Raises:
        RevisionUnusable: the revision does not exist, is of another project, no cache has one of its files, or one of
            them is of other models or data than the revision has.
        GitFailed: git refuses to read the repository.
    """
    ensure_versions(root)
    shutil.rmtree(target, ignore_errors=True)
    try:
        report_damaged_lists()
        files = DVCFileSystem(str(root), rev=revision)
        _copy(files, "params.yaml", target, revision)
        names = _report_inputs(target / "params.yaml")
        _require_current(files.repo, partial(_read, files), names, revision)
        for name in names:
            _copy(files, name, target, revision)
    except (SCMError, RevError) as error:
        raise no_such_version(str(error), revision) from error
    except ParamsError as error:
        raise RevisionUnusable(
            f"{revision}: its params.yaml names no models ({error.messages[0]}); name a version of this pipeline"
        ) from error
    except DvcException as error:
        raise RevisionUnusable(f"{revision}: cannot be read: {error}") from error


def require_current(root: Path) -> None:
    """Checks that the report's input files in the workspace are of the models and data that dvc.lock has.

    Raises:
        RevisionUnusable: one of them is not.
        PipelineInvalid: DVC cannot open the project.
    """

    def read(path: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    with open_repo(root) as repo:
        _require_current(repo, read, _report_inputs(root / "params.yaml"), WORKSPACE)


def _report_inputs(params: Path) -> list[str]:
    models = load_section(params, ["models"], dict[Name, Any])
    return [*DATA_FILES, *(pattern.format(name=name) for name in models for pattern in MODEL_FILES)]


def _require_current(repo: Repo, read: versions.Read, names: Iterable[str], revision: str) -> None:
    """Checks that the stages that made the files `names` read what dvc.lock has for the stages before them."""
    links = Links(versions.stages_of(read, [""])[0].stages)
    outdated = links.outdated(folder_lists(partial(cached_file, repo)))
    stage = next((stage for name in names if (stage := links.maker_of(name)) in outdated), "")
    if stage:
        there = "" if revision == WORKSPACE else "check that version out and "
        commit = "" if revision == WORKSPACE else ", then commit"
        raise RevisionUnusable(
            f"{revision}: {stage} {outdated[stage]}, so its results are not of this version; "
            f"{there}run `inkflow run`{commit}"
        )


def fetch_files(root: Path, revision: str, files: Mapping[str, Path]) -> None:
    """Copy files as of `revision` from git, DVC's cache or its remote; each target is written as a whole.

    Args:
        root: the project's folder.
        revision: a commit.
        files: the path to copy to, by the path below `root`.

    Raises:
        RevisionUnusable: no cache and no remote has one of the files, or its path leaves the project.
        OutputError: the project's folder .inkflow cannot be created.
    """
    make_state_folder(root)
    try:
        report_damaged_lists()
        source = DVCFileSystem(str(root), rev=revision)
        for name, target in files.items():
            folder = target.with_name(PARTS)
            with emptied_folder(folder, root / FETCH_LOCK):
                _copy(source, name, folder, revision)
                (folder / name).replace(target)
    except DvcException as error:
        raise RevisionUnusable(f"{revision}: cannot be read: {error}") from error


def _read(files: DVCFileSystem, path: str) -> bytes | None:
    """Return the content of a file in git; None if the revision has no such file."""
    try:
        return bytes(files.cat_file(path))
    except OSError:
        return None


def _set_damaged_aside(files: DVCFileSystem, info: dict[str, Any]) -> None:
    """Set the object of a file in the cache aside if it is damaged; the file then comes from the remote."""
    entry = (info.get("dvc_info") or {}).get("entry")
    if entry is not None and entry.hash_info:
        set_damaged_aside(files.repo, files.repo.cache.local, [value_of(entry.hash_info)], print_to_stderr)


def _copy(files: DVCFileSystem, name: str, target: Path, revision: str) -> None:
    path = PurePosixPath(name)  # of a file of that version, which may have been written by anybody
    if path.is_absolute() or ".." in path.parts:
        raise RevisionUnusable(f"{revision}: {name!r} is no path inside the project")
    try:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        info = files.info(name)
        if info["type"] == "directory":  # `get_file` would make an empty one
            raise RevisionUnusable(f"{revision}: {name} is a folder, expected a file; name another version")
        _set_damaged_aside(files, info)
        files.get_file(name, str(target / name))
    except OSError as error:  # FileNotFoundError, and the errors of remotes
        if (fault := machine_fault(error)) is not None:
            raise InkflowError(f"{revision}: {name} cannot be copied: {fault}") from error
        raise RevisionUnusable(
            f"{revision}: {name} is neither in git, the cache nor a remote; "
            "check that version out and run `inkflow run` or `dvc pull`"
        ) from error
