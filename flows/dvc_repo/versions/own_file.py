"""Brings the file of an own data set into a clone of the project, with the record that git or DVC keeps of it.

An experiment or a branch with the digests of a new file and the record of an earlier one would bring the earlier file
back when a person applies or merges it, and the new one might be nowhere else.
"""

import filecmp
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.exceptions import OutputNotFoundError
from dvc.repo import Repo

from flows.core.file_lock import exclusive_lock
from flows.core.git import git_names, git_text
from flows.dvc_repo.change_detection import path_of
from flows.dvc_repo.dvc_errors import converted_errors
from flows.dvc_repo.locking import cache_lock_path
from flows.dvc_repo.opening import open_repo
from stages.base.digests import file_md5
from stages.base.errors import InvalidInput, OutputError
from stages.base.files import is_file

if TYPE_CHECKING:  # the schema takes 0.12 s to import
    from stages.params.schema import Params


def bring_own_data(root: Path, clone: Path, params: "Params | None") -> None:
    """Gives a clone the file of the chosen data set as it is in the project, where git or DVC tracks it.

    If DVC tracks the file, and it has new content, it is added in the clone, so that the cache has the content. A file
    that neither of them tracks, or that a stage makes, stays as it is.

    Args:
        root: the project.
        clone: the project's folder in the clone, in which nothing has run.
        params: the parameters of the clone; None in a project without our schema.

    Raises:
        InvalidInput: the content is new, and cannot be recorded in the clone; the message says what to do.
        DvcFailed, OutputError: the file cannot be copied or added.
    """
    path = params.selected_dataset.path if params else None
    if path is None or not is_file(root / path):
        return
    if is_file(clone / path):
        _bring_committed(root, clone, path)
    else:
        _bring_tracked(root, clone, path)


def _bring_committed(root: Path, clone: Path, path: str) -> None:
    """Copies a file that git tracks."""
    if filecmp.cmp(root / path, clone / path, shallow=False):
        return
    is_listed = bool(git_names(["ls-files", "-z", "--", f":(literal){path}"], clone))
    conversion = git_text(["check-attr", "-z", "filter", "--", path], clone).split("\0")[2]
    if not is_listed or conversion not in ("unspecified", "unset"):  # in a submodule, or stored elsewhere (Git LFS)
        raise InvalidInput(f"{path} has other content than in the last commit; commit it, then run again")
    _copy(root / path, clone / path)


def _bring_tracked(root: Path, clone: Path, path: str) -> None:
    """Adds a file that DVC tracks, if its content is new."""
    digest = file_md5(root / path)
    with open_repo(clone) as repo:
        out = _output(repo, path)
        if out is None:
            _check_record(root, path, digest)
        if out is None or out.stage.cmd is not None or _recorded(repo, path) == digest:
            return
        _check_simple(out, path)
        _copy(root / path, clone / path)
        with converted_errors(clone), exclusive_lock(cache_lock_path(Path(repo.stage_cache.cache_dir).parent)):
            repo.add(str(clone / path), relink=False)


def _check_record(root: Path, path: str, digest: str | None) -> None:
    """Checks the record of a file that DVC tracks in the project, but git does not in the clone."""
    with open_repo(root) as repo:
        out = _output(repo, path)
        if out is not None and out.stage.cmd is None and _recorded(repo, path) != digest:
            record = _record(out)
            raise InvalidInput(
                f"{path} has other content than {record} names, and git has no commit of {record}; commit it, then run "
                "again"
            )


def _check_simple(out: Any, path: str) -> None:
    """Checks that the content can be added without the project's other data: as a file, which is no import."""
    tracked, record = path_of(out), _record(out)
    if out.stage.deps:
        raise InvalidInput(
            f"{path} has other content than the import {record} names; restore it (`dvc checkout {record}`), or bring "
            f"the new one by `dvc update {record}`, and commit {record}; then run again"
        )
    if tracked != path:
        raise InvalidInput(
            f"{path} has other content than {record} names; `dvc add {tracked}`, commit {record}, then run again"
        )


def _output(repo: Repo, path: str) -> Any:
    """Returns DVC's output that is the file `path` or a folder around it; None if there is none."""
    try:
        return next(iter(repo.find_outs_by_path(str(Path(repo.root_dir) / path), strict=False)))
    except OutputNotFoundError:
        return None


def _record(out: Any) -> str:
    """Returns the path of the file in which DVC records an output, from the project's folder."""
    return str(Path(out.stage.path).relative_to(out.repo.root_dir))


def _recorded(repo: Repo, path: str) -> str:
    """Returns the MD5 hash that DVC records for a file; empty if the list of its folder is not in the cache."""
    try:
        return str(repo.dvcfs.info(f"/{path}")["dvc_info"].get("md5"))
    except FileNotFoundError:
        return ""


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(target, error) from error
