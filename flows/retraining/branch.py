"""The branch `retrain/DATASET-DIGEST` of a retraining: a commit on top of the one that is checked out.

A project in a folder of its Git repository has `retrain/FOLDER/DATASET-DIGEST`, so that each project has its own.
A branch moves only from nothing, or from a commit that a retraining made and that nobody has changed. Such a commit
names its own tree in its message. The working tree, its index and its HEAD are not touched.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flows.core.errors import BranchKept, GitFailed
from flows.core.git import REMOTE_TIMEOUT_S, git_succeeds, git_text, push_remote, run_git
from flows.dvc_repo.versions.experiments import NO_GC
from flows.engine.environment.records import LOCK
from stages.base.errors import InkflowError, InvalidInput

PREFIX = "retrain/"
TREE, DATA = "Inkflow-Tree", "Inkflow-Data"  # trailers of the commit
DEFAULT_NAMES = ("main", "master", "trunk", "develop")  # never pushed to, whatever the remote's HEAD is
SYMREF = re.compile(r"ref: refs/heads/(\S+)\tHEAD")


@dataclass(frozen=True)
class Branch:
    """A local branch: its name, its commit, and the commit below it."""

    name: str
    commit: str
    base: str

    @property
    def ref(self) -> str:
        """The full name of its reference."""
        return f"refs/heads/{self.name}"


def project_folder(root: Path) -> str:
    """Returns the folder of the project in its Git repository, with `/` at the end; empty if it is the repository's."""
    return git_text(["rev-parse", "--show-prefix"], root)


def branch_prefix(root: Path) -> str:
    """Returns the prefix of the branches of the project at `root`: with its folder, unless it is the repository's.

    Characters that Git allows in no name, or not everywhere in one, are written as in an address (`%2E`).
    """
    folder = quote(os.fsencode(project_folder(root)), safe="/")
    return PREFIX + folder.replace(".", "%2E").replace("~", "%7E")


def branch_name(root: Path, dataset: str, digests: Mapping[str, str]) -> str:
    """Returns the name of the branch for data of the project at `root` with these digests."""
    digest = hashlib.sha256(json.dumps(dict(sorted(digests.items()))).encode()).hexdigest()
    return f"{branch_prefix(root)}{re.sub('[^A-Za-z0-9_-]', '-', dataset)}-{digest[:10]}"


def check_free(root: Path, name: str) -> None:
    """Checks that the branch can be made, before anything is trained.

    Raises:
        InvalidInput: it is checked out, or has commits of others.
    """
    ref = f"refs/heads/{name}"
    if not git_succeeds(["check-ref-format", ref], root):
        raise InvalidInput(f"{name!r} is no name of a branch; rename the data set in params.yaml")
    folder = git_text(["for-each-ref", "--format=%(worktreepath)", ref], root)
    if folder:
        raise InvalidInput(f"the branch {name} is checked out in {folder}; check out another one, then run again")
    tip = git_text(["rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], root, allowed=[1])
    if tip and not _is_own(root, tip):
        raise InvalidInput(f"the branch {name} has commits of others; merge or delete it, then run again")


def write_branch(root: Path, clone: Path, name: str, base: str, tree: str, message: str, digest: str) -> Branch:
    """Makes a commit of `tree`, whose objects are in the clone, and points the branch of the project at `root` to it.

    A branch that has this tree on this base already keeps its commit, also where environment.lock differs: equal
    results that a run has restored can be recorded as those of another machine.

    Raises:
        InvalidInput: see `check_free`.
        GitFailed: another process moved the branch.
    """
    check_free(root, name)
    ref = f"refs/heads/{name}"
    before = git_text(["rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], root, allowed=[1])
    text = f"{message.strip()}\n\n{DATA}: {digest}\n{TREE}: {tree}\n"
    command = ["commit-tree", tree, "-p", base, "-F", "-"]
    commit = run_git(command, clone, stdin=text.encode(errors="replace")).decode().strip()
    run_git(["update-ref", "refs/inkflow/retrain", commit], clone)
    top = git_text(["rev-parse", "--show-toplevel"], clone)
    options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
    run_git([*NO_GC, "fetch", *options, top, "refs/inkflow/retrain"], root)
    if before and git_text(["show", "--no-patch", "--format=%P", before], root) == base:
        results = [":(top)", f":(top,exclude,glob)**/{LOCK}"]
        if git_succeeds(["diff-tree", "--quiet", "-r", before, commit, "--", *results], root):
            return Branch(name, before, base)
    run_git(["update-ref", "-m", "inkflow: retraining", ref, commit, before or "0" * len(commit)], root)
    return Branch(name, commit, base)


def git_remote(root: Path) -> tuple[str, str] | None:
    """Returns name and address of Git's remote to push to; None if the repository has none."""
    name = push_remote(root)
    try:
        return name, git_text(["remote", "get-url", "--push", name], root)
    except GitFailed:
        return None


def push_branch(root: Path, branch: Branch, remote: str) -> str | None:
    """Pushes the branch, and returns the remote's default branch; None if the remote does not name one.

    Raises:
        BranchKept: the remote cannot be reached or refuses; it has the branch with commits of others; its HEAD is this
            branch; or it lacks the commit below, which is not published by a program.
    """
    try:
        return _push(root, branch, remote)
    except InkflowError as error:
        raise BranchKept(branch.name, f"was not pushed: {error}") from error


def _push(root: Path, branch: Branch, remote: str) -> str | None:
    answer = _remote(["ls-remote", "--symref", remote, "HEAD", branch.ref], root)
    symref = SYMREF.search(answer)
    default = symref[1] if symref else None
    if not branch.name.startswith(PREFIX) or branch.name in (default, *DEFAULT_NAMES):
        raise InvalidInput(f"{branch.name} is the default branch of {remote}, to which no program pushes")
    tips = [line.partition("\t")[0] for line in answer.splitlines() if line.endswith(f"\t{branch.ref}")]
    tip = tips[0] if tips else ""
    if tip == branch.commit:
        return default
    _remote([*NO_GC, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", remote], root)
    known = ["for-each-ref", "--count=1", f"--contains={branch.base}", f"refs/remotes/{remote}/"]
    if not git_text(known, root):
        raise InvalidInput(
            f"{remote} has no branch with the commit {branch.base[:10]} below it; push that commit yourself, then run "
            "again"
        )
    if tip:
        _remote([*NO_GC, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, branch.ref], root)
        if not _is_own(root, tip):
            raise InvalidInput(f"{remote} has the branch with commits of others; merge or delete it, then run again")
    options = ["--quiet", "--no-follow-tags", "--recurse-submodules=no", f"--force-with-lease={branch.ref}:{tip}"]
    _remote(["push", *options, remote, f"{branch.commit}:{branch.ref}"], root)
    return default


def _remote(arguments: list[str], root: Path) -> str:
    return run_git(arguments, root, timeout_s=REMOTE_TIMEOUT_S).decode(errors="replace")


def _is_own(root: Path, commit: str) -> bool:
    """Returns True if a retraining made the commit, and nobody has changed it since."""
    facts = git_text(["show", "--no-patch", f"--format=%T%n%(trailers:key={TREE},valueonly)", commit], root)
    tree, _, named = facts.partition("\n")
    return named.strip() == tree
