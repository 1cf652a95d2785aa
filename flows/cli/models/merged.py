"""`inkflow ci promote`: promotes the models of a retraining whose pull or merge request was merged."""

import os
from pathlib import Path

from flows.ci import forge
from flows.ci.pull_request import PullRequests
from flows.core.errors import RegistryFailed
from flows.core.git import git_succeeds, head_commit
from flows.core.redaction import say
from flows.dvc_repo import remotes
from flows.dvc_repo.versions.artifacts import find_artifact
from flows.registry.overtaken import fetch_tags
from flows.registry.promotion import check_names, promote
from flows.registry.publication import git_remote
from flows.registry.tags import ModelVersion, Registry
from flows.retraining.branch import branch_prefix
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError


def promote_merged(root: Path, stage: str) -> int:
    """Promotes each model that holds the stage, if this job's commit is the merge of a retraining.

    A model whose file has not changed keeps its version, and so does one whose version is of a newer commit: the job of
    an earlier merge may come last, as GitLab starts waiting jobs in no order. A model that is refused does not stop the
    others.

    Raises:
        ForgeFailed: the forge refuses, or cannot be reached.
        RemoteFailed: the DVC remote cannot be read.
        GitFailed, RegistryFailed: the tags of Git's remote cannot be fetched.
    """
    check_names(stage)
    reason = _no_retraining(root)
    if reason:
        say(f"no promotion: {reason}")
        return EXIT_DONE
    if remotes.has_remote(root):
        remotes.pull(root)
    fetch_tags(root, git_remote(root))  # of a promotion since the job's checkout
    holders = [item for item in Registry(root).versions() if stage in item.stages]
    if not holders:
        say(f"no promotion: no version holds {stage}; `inkflow promote MODEL {stage} --push` gives it the first time")
    return EXIT_FAILED if [item for item in holders if not _promote(root, item, stage)] else EXIT_DONE


def _no_retraining(root: Path) -> str | None:
    """Returns why this job's commit is no merge of a retraining of the project at `root`; None if it is."""
    job = forge.forge_of_job(os.environ)
    if isinstance(job, str):
        return job
    repository, commit = job
    forge.lend_token(repository, _push_address())
    with forge.client(repository.headers) as session:
        merged = PullRequests(session, repository).merged_branches(commit)
    prefix = branch_prefix(root)
    if any(branch.startswith(prefix) and "/" not in branch.removeprefix(prefix) for branch in merged):
        return None
    return f"commit {commit[:10]} is no merge of a branch {prefix}..."


def _push_address() -> str:
    """Returns the address to which this job's tags are pushed.

    GitLab's own clone has an address with the job's token, which may not push: git is given the project's plain one.
    """
    project = os.environ.get("CI_PROJECT_URL")
    if os.environ.get("GITLAB_CI") and project:
        forge.set_git_option("remote.origin.pushurl", f"{project}.git")
        return f"{project}.git"
    return f"{os.environ.get('GITHUB_SERVER_URL', '')}/{os.environ.get('GITHUB_REPOSITORY', '')}"


def _follows(root: Path, later: str, earlier: str) -> bool:
    """Returns True if the history of the commit `later` has `earlier`; False for a commit that is not here."""
    return git_succeeds(["merge-base", "--is-ancestor", earlier, later], root)


def _promote(root: Path, holder: ModelVersion, stage: str) -> bool:
    """Promotes the model that holds the stage; prints a line, and returns False if the model is refused."""
    model = holder.model
    try:
        if find_artifact(root, model).hash == holder.trailers.get("MD5"):
            say(f"{model} {holder.version} stays in {stage}: its file has not changed")
            return True
        if holder.commit != (commit := head_commit(root)) and _follows(root, holder.commit, commit):
            say(f"{model} {holder.version} stays in {stage}: it is of a newer commit, {holder.commit[:10]}")
            return True
        done = promote(root, model, stage, version=None, force=None, push=True)
    except RegistryFailed as error:  # the stage may be held by a version that somebody else has promoted just now
        say(f"{model} is not promoted: {error}")
        return False
    except InkflowError as error:
        say(f"{model} {holder.version} stays in {stage}: {error}")
        return False
    say(f"{model} {done.version} is in {stage} in place of {holder.version}")
    return True
