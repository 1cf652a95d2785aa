"""The branch of a retraining, in real repositories with a bare remote."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.core.errors import BranchKept
from flows.retraining.branch import Branch, branch_name, branch_prefix, check_free, push_branch, write_branch
from stages.base.errors import InvalidInput

DIGESTS = {"x_train": "1", "y_train": "2"}
NAME = "retrain/mnist-693623e199"


def git(folder: Path, *arguments: str) -> str:
    """Runs git in a folder and returns its output."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class Repositories:
    """A repository with one pushed commit, its bare remote, and a clone in which a retraining ran."""

    here: Path
    remote: Path
    clone: Path

    @property
    def base(self) -> str:
        """The commit that is checked out."""
        return git(self.here, "rev-parse", "HEAD")

    def make(self, content: str) -> Branch:
        """Makes the branch of a retraining whose result is this content."""
        (self.clone / "dvc.lock").write_text(content)
        git(self.clone, "add", "--all")
        tree = git(self.clone, "write-tree")
        return write_branch(self.here, self.clone, NAME, self.base, tree, f"Retrain\n\n{content}", "0123456789")

    def tip(self, folder: Path, name: str = NAME) -> str:
        """Returns the commit of a branch."""
        return git(folder, "rev-parse", "--verify", f"refs/heads/{name}")


@pytest.fixture
def repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repositories:
    """Three repositories; the first one has a change that is not committed."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    here, remote, clone = (tmp_path / name for name in ("here", "remote.git", "clone"))
    git(tmp_path, "init", "-q", "--bare", "-b", "trunk-of-ours", str(remote))
    git(tmp_path, "init", "-q", "-b", "trunk-of-ours", str(here))
    (here / "dvc.lock").write_text("old")
    git(here, "add", "--all")
    git(here, "commit", "-qm", "first")
    git(here, "remote", "add", "origin", str(remote))
    git(here, "push", "-q", "origin", "trunk-of-ours")
    git(tmp_path, "clone", "-q", "--shared", str(here), str(clone))
    (here / "dvc.lock").write_text("not committed")
    return Repositories(here, remote, clone)


def test_the_same_results_keep_their_commit(repositories: Repositories) -> None:
    """A second retraining with equal results leaves the branch, also if it records them as another machine's."""
    (repositories.clone / "environment.lock").write_text("of this machine")
    first = repositories.make("new")
    assert repositories.make("new") == first
    for name in ("environment.lock", "a/environment.lock"):
        (repositories.clone / name).parent.mkdir(exist_ok=True)
        (repositories.clone / name).write_text("of another machine")
        assert repositories.make("new") == first == Branch(NAME, repositories.tip(repositories.here), repositories.base)
    assert repositories.make("newer") != first


def test_projects_of_one_repository_have_branches_of_their_own(repositories: Repositories) -> None:
    """The name has the project's folder, unless that is the repository's; git takes it, whatever the folder's name."""
    here, names = repositories.here, [branch_name(repositories.here, "mnist", DIGESTS)]
    assert names == [NAME]
    for folder in ("a/ocr", "a-ocr", "a ocr", "b", "v1.2~x.lock", "é", "a%20ocr"):
        (here / folder).mkdir(parents=True)
        names.append(branch_name(here / folder, "mnist", DIGESTS))
        check_free(here / folder, names[-1])
    assert len(set(names)) == len(names)
    assert names[1] == NAME.replace("retrain/", "retrain/a/ocr/") and branch_prefix(here / "b") == "retrain/b/"


def test_the_working_tree_is_not_touched(repositories: Repositories) -> None:
    """The branch has the result on top of the commit; HEAD, index and files stay; the remote's own branch too."""
    here, remote = repositories.here, repositories.remote
    before = (git(here, "status", "--porcelain=v2", "--branch"), (here / ".git/index").read_bytes())
    branch = repositories.make("new")
    assert push_branch(here, branch, "origin") == "trunk-of-ours"
    assert (git(here, "status", "--porcelain=v2", "--branch"), (here / ".git/index").read_bytes()) == before
    assert git(remote, "show", f"{NAME}:dvc.lock") == "new" and repositories.tip(remote) == branch.commit
    assert git(remote, "rev-parse", f"{NAME}^", "trunk-of-ours").splitlines() == [branch.base] * 2
    assert git(remote, "log", "-1", "--format=%s%n%(trailers:key=Inkflow-Data)", NAME) == (
        "Retrain\nInkflow-Data: 0123456789"
    )


def test_a_branch_is_replaced_by_the_next_retraining(repositories: Repositories) -> None:
    """The same result keeps its commit; another one takes the place of the earlier one, also in the remote."""
    first = repositories.make("new")
    push_branch(repositories.here, first, "origin")
    assert repositories.make("new") == first
    second = repositories.make("newer")
    push_branch(repositories.here, second, "origin")
    push_branch(repositories.here, second, "origin")
    assert second.commit != first.commit == git(repositories.here, "rev-parse", f"{first.commit}")
    assert repositories.tip(repositories.remote) == second.commit and second.base == first.base


@pytest.mark.parametrize("change", ["commit", "amend"])
def test_commits_of_others_stay(repositories: Repositories, change: str, tmp_path: Path) -> None:
    """A branch on which a person has worked is replaced neither here nor in the remote; the local branch is kept."""
    push_branch(repositories.here, repositories.make("new"), "origin")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", "-b", NAME, str(repositories.remote), str(other))
    (other / "dvc.lock").write_text("of a person")
    git(other, "commit", "-qa", *(["-m", "mine"] if change == "commit" else ["--amend", "--no-edit"]))
    git(other, "push", "-q", "--force", "origin", NAME)
    theirs, mine = repositories.tip(other), repositories.make("newer")
    with pytest.raises(BranchKept, match=f"the branch {NAME} is kept here, but was not pushed: origin has the branch"):
        push_branch(repositories.here, mine, "origin")
    assert repositories.tip(repositories.remote) == theirs and repositories.tip(repositories.here) == mine.commit
    git(repositories.here, "update-ref", f"refs/heads/{NAME}", git(repositories.here, "rev-parse", theirs))
    with pytest.raises(InvalidInput, match="has commits of others; merge or delete it"):
        repositories.make("newest")


def test_never_the_default_branch(repositories: Repositories) -> None:
    """Neither the remote's HEAD, whatever its name, nor a branch without the prefix is pushed to."""
    branch = repositories.make("new")
    git(repositories.here, "push", "-q", "origin", f"HEAD:refs/heads/{NAME}")
    git(repositories.remote, "symbolic-ref", "HEAD", f"refs/heads/{NAME}")
    with pytest.raises(BranchKept, match="is the default branch of origin, to which no program pushes"):
        push_branch(repositories.here, branch, "origin")
    for name in ("main", "master", "trunk-of-ours"):
        with pytest.raises(BranchKept, match="to which no program pushes"):
            push_branch(repositories.here, Branch(name, branch.commit, branch.base), "origin")
    assert repositories.tip(repositories.remote) == branch.base
    assert git(repositories.remote, "branch", "--list", "--format=%(refname:short)").split() == [NAME, "trunk-of-ours"]


def test_commits_that_were_not_pushed_stay_here(repositories: Repositories) -> None:
    """A branch on top of a commit that the remote lacks is not pushed: it would publish that commit."""
    git(repositories.here, "commit", "-qam", "private")
    git(repositories.clone, "fetch", "-q", "origin")
    branch = repositories.make("new")
    with pytest.raises(BranchKept, match="push that commit yourself"):
        push_branch(repositories.here, branch, "origin")
    assert git(repositories.remote, "branch", "--list", NAME) == ""


def test_a_remote_that_refuses(repositories: Repositories) -> None:
    """A refusal of the remote, and a remote that is away, are one sentence; the branch is kept."""
    branch = repositories.make("new")
    hook = repositories.remote / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no pushes today\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(BranchKept, match="no pushes today"):
        push_branch(repositories.here, branch, "origin")
    git(repositories.here, "remote", "set-url", "origin", "http://user:the-password@127.0.0.1:9/x.git")
    with pytest.raises(BranchKept, match=r"was not pushed: git ls-remote: .*127\.0\.0\.1") as raised:
        push_branch(repositories.here, branch, "origin")
    assert "the-password" not in str(raised.value) and "\n" not in str(raised.value)
    assert repositories.tip(repositories.here) == branch.commit


def test_a_branch_that_is_checked_out(repositories: Repositories, tmp_path: Path) -> None:
    """A branch that a person has checked out, here or in another working tree, is not moved below them."""
    repositories.make("new")
    git(repositories.here, "worktree", "add", "-q", str(tmp_path / "tree"), NAME)
    with pytest.raises(InvalidInput, match="is checked out in"):
        check_free(repositories.here, NAME)
    with pytest.raises(InvalidInput, match="is checked out in"):
        repositories.make("newer")
