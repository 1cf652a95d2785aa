"""All versions of a project as one JSON document of facts: commits, experiments, the workspace, and runs that failed.

    git log, refs ──> cat-file --batch ──> Version ──┐
    DVC's cache (metrics, predictions by hash) ──────┤──> compare ──> groups ──> document
    .inkflow/runs (times, results, failures) ────────┘

`inkflow report --runs` writes the document, and `stages.runs` makes a page of it.
"""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path, PurePosixPath
from posixpath import join
from typing import Any

from flows.core.errors import RevisionUnusable
from flows.core.git import git_text
from flows.dvc_repo.history import comparison, run_facts, versions
from flows.dvc_repo.history.links import Links, Listed, folder_lists
from flows.dvc_repo.history.objects import GitFiles
from flows.dvc_repo.history.revisions import History, Revision, lock_folders, read_history
from flows.dvc_repo.history.scores import add_scores
from flows.dvc_repo.history.versions import CachedFile, Version
from flows.dvc_repo.opening import open_repo
from flows.dvc_repo.versions.artifacts import cached_file
from flows.dvc_repo.versions.version_diff import ensure_versions
from flows.engine.run_record import read_records

FORM = 1
WORKSPACE = "workspace"
DEFAULT_LIMIT = 1000  # commits


def read_facts(root: Path, limit: int = DEFAULT_LIMIT) -> dict[str, Any]:
    """Returns the facts of the project in `root`.

    Returns:
        `project`: name, head, branch, and whether commits are missing. `versions`: a row for each commit whose results
        or parameters differ from its parents', each experiment, the workspace if it differs, and each run that failed;
        the oldest first. `constants`: parameters that all versions share. `sweeps`: experiments on the same commit that
        vary the same parameters. `files`: the path in DVC's cache by hash.

    Raises:
        RevisionUnusable: the project has no versions yet.
        PipelineInvalid: DVC cannot open the project.
        GitFailed: git refuses to read the repository.
    """
    ensure_versions(root)
    history = read_history(root, limit)
    with open_repo(root) as repo:
        cached = cache(partial(cached_file, repo))
        read = _read_versions(root, history, cached)
    rows = comparison.rows(history, read)
    files = {path for _, version in read for path in version.params_files}
    run_facts.add_runs(rows, read_records(root), files)
    models = [model for row in rows for model in row["models"].values()]
    hashes = {model[kind] for model in models for kind in ("predictions", "history") if kind in model}
    hashes |= {row["data"][versions.DATASET] for row in rows if versions.DATASET in row["data"]}
    hashes |= {row["description"] for row in rows if row["description"]}
    constants = comparison.split_constants(rows, files)
    return {
        "form": FORM,
        "project": {
            "name": root.resolve().name,
            "head": history.head,
            "branch": history.branch,
            "shallow": history.is_shallow,
            "limited": limit if history.is_limited else 0,
        },
        "versions": rows,
        "constants": constants,
        "sweeps": comparison.sweeps(rows),
        "files": {digest: str(path) for digest in sorted(hashes) if (path := cached(digest))},
    }


def _read_versions(root: Path, history: History, cached: CachedFile) -> list[tuple[Revision, Version]]:
    """Returns each revision with its facts; the workspace is the last one if it differs from HEAD."""
    files, folders = GitFiles(root), lock_folders(root, history)
    commits = [revision.commit for revision in history.revisions]
    names = versions.file_names(folders)
    files.load((commit, name) for commit in commits for name in names)
    found = []
    for commit in commits:
        version, pipelines = versions.stages_of(_reader(files, commit), folders)
        metrics = versions.metrics_files(version, pipelines)
        found.append((commit, version, pipelines, metrics))
    sources = {path for _, version, _, _ in found for stage in version.stages.values() for path in stage.deps}
    wanted = [(commit, path) for commit, _, _, metrics in found for path in metrics]
    wanted += [(c, join(f, p)) for c, _, lines, _ in found for f, line in lines.items() for p in line.params_files]
    wanted += [(commit, f"{path}.dvc") for commit in _ends(history) for path in sources]
    files.load(wanted)
    listed = folder_lists(cached)
    tracked = {path for path in sources if any(files.id(commit, f"{path}.dvc") for commit in _ends(history))}
    for commit, version, pipelines, metrics in found:
        read = _reader(files, commit)
        params = [join(folder, path) for folder, line in pipelines.items() for path in line.params_files]
        versions.add_params(version, read, [path for path in params if PurePosixPath(path).suffix != ".py"])
        version.outdated = Links(version.stages).outdated(listed)
        add_scores(version, read, cached, metrics)
        versions.add_sources(version, tracked.__contains__)
    result = [(revision, version) for revision, (_, version, _, _) in zip(history.revisions, found, strict=True)]
    workspace = _workspace(root, folders, cached, listed, tracked)
    head = next((version for revision, version in result if revision.commit == history.head), None)
    if head is not None and not comparison.are_equal(workspace, head):
        result.append((Revision(WORKSPACE, (history.head,), 0, "", "not committed"), workspace))
    return result


def _ends(history: History) -> list[str]:
    """Returns the first and the last commit: a file with data that DVC tracks has its .dvc file in one of them."""
    commits = [revision.commit for revision in history.revisions if not revision.experiment]
    return list(dict.fromkeys([commits[0], history.head])) if commits else []


def _reader(files: GitFiles, commit: str) -> versions.Read:
    return lambda path: files.read(commit, path)


def _workspace(root: Path, folders: list[str], cached: CachedFile, listed: Listed, tracked: set[str]) -> Version:
    """Returns the facts of the files as they are on the disk."""

    def read(path: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    version, pipelines = versions.stages_of(read, folders)
    params = [join(folder, path) for folder, line in pipelines.items() for path in line.params_files]
    versions.add_params(version, read, [path for path in params if PurePosixPath(path).suffix != ".py"])
    version.outdated = Links(version.stages).outdated(listed)
    add_scores(version, read, cached, versions.metrics_files(version, pipelines))
    versions.add_sources(version, tracked.__contains__)
    return version


def resolve(root: Path, facts: Mapping[str, Any], revision: str) -> str:
    """Returns the identifier of the row of a commit, branch, tag or experiment.

    Raises:
        RevisionUnusable: there is no such version, or it has no row.
    """
    verify = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    commit = git_text(verify, root, allowed=[1, 128])
    for row in facts["versions"]:
        if revision == row["id"] or (commit and commit in (row["id"], *row["same"])):
            return str(row["id"])
    named = [str(row["id"]) for row in facts["versions"] if revision == row["name"]]
    if len(named) > 1:
        found = ", ".join(name[:7] for name in named)
        raise RevisionUnusable(f"{revision} names {len(named)} experiments of several commits; name one of {found}")
    if named:
        return named[0]
    raise RevisionUnusable(
        f"{revision}: no version of that name has results or parameters; `inkflow report --runs --json` lists them"
    )
