"""Differences between two versions of any DVC project: its parameters, its metrics and its outputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev

from flows.core.errors import PipelineInvalid, RevisionUnusable
from flows.core.git import head_commit, require_repository
from flows.core.project import merge_conflict
from flows.dvc_repo.dvc_errors import ErrorCollector, describe_error

WORKSPACE = "workspace"  # DVC's name of the files as they are
KINDS = ("added", "deleted", "modified", "renamed")


def compare_versions(root: Path, old: str, new: str | None) -> dict[str, list[dict[str, Any]]]:
    """Return what differs between revision `old` and revision `new`, or the workspace if `new` is None.

    Returns:
        `parameters` and `metrics`: rows with `file`, `name`, `old`, `new`; `outputs`: rows with `path`, `change`.

    Raises:
        RevisionUnusable: a revision does not exist, or its files cannot be read.
        GitFailed: git refuses to read the repository.
    """
    ensure_versions(root)
    if new is None and (conflict := merge_conflict(root)):
        raise PipelineInvalid(conflict)
    try:
        with ErrorCollector().capture(), Repo(str(root)) as repo:
            first = resolve_rev(repo.scm, old)
            second = WORKSPACE if new is None else resolve_rev(repo.scm, new)
            if first == second:
                return {"parameters": [], "metrics": [], "outputs": []}
            parameters, metrics = (kind.diff(a_rev=first, b_rev=second) for kind in (repo.params, repo.metrics))
            outputs = repo.diff(a_rev=first, b_rev=None if new is None else second)
    except RevError as error:
        raise no_such_version(describe_error(error)) from error
    except DvcException as error:
        raise RevisionUnusable(f"{old} and {new or WORKSPACE} cannot be compared: {describe_error(error)}") from error
    return {"parameters": _rows(parameters), "metrics": _rows(metrics), "outputs": _outputs(outputs)}


def commit_of(root: Path, revision: str) -> str:
    """Return the commit of a revision: a commit, branch, tag or experiment.

    Raises:
        RevisionUnusable: there is no such version.
        GitFailed: git refuses to read the repository.
    """
    ensure_versions(root)
    try:
        with ErrorCollector().capture(), Repo(str(root)) as repo:
            return str(resolve_rev(repo.scm, revision))
    except (RevError, DvcException) as error:
        raise no_such_version(describe_error(error), revision) from error


def no_such_version(reason: str, revision: str = "") -> RevisionUnusable:
    """Return the error for a revision that DVC does not find, with DVC's reason."""
    subject = f"{revision}: " if revision else ""
    return RevisionUnusable(f"{subject}no such version ({reason}); `git log` and `dvc exp list` list the versions")


def ensure_versions(root: Path) -> None:
    """Raise an error with the reason if the project has no versions: no git repository, no commit, or git refuses."""
    require_repository(root, "so it has no versions")
    if not head_commit(root):
        raise RevisionUnusable("there is no commit yet, so there are no versions; commit first")


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the changed values of DVC's comparison of parameters or metrics.

    Raises:
        DvcException: a file cannot be read. A missing file is a difference, and no error.
    """
    for problem in result.get("errors", {}).values():
        for error in problem.values() if isinstance(problem, Mapping) else [problem]:
            if not isinstance(error, FileNotFoundError):
                raise DvcException(describe_error(error)) from error
    return [
        {"file": file, "name": name, "old": value.get("old"), "new": value.get("new")}
        for file, values in result.get("diff", {}).items()
        for name, value in values.items()
    ]


def _outputs(result: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    rows = [{"path": _path(item["path"]), "change": kind} for kind in KINDS for item in result.get(kind, ())]
    return sorted(rows, key=lambda row: str(row["path"]))


def _path(path: str | Mapping[str, str]) -> str:
    return path if isinstance(path, str) else f"{path['old']} → {path['new']}"
