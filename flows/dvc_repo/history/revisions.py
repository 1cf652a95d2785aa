"""The revisions of a project: the commits of its branches and tags, and its DVC experiments."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.core.errors import GitFailed
from flows.core.git import git_names, git_text, head_commit

FORMAT = "%H%x1f%P%x1f%ct%x1f%an%x1f%s"
REF_FORMAT = "%(refname)%1f%(objectname)%1f%(*objectname)%1f%(committerdate:unix)%1f%(authorname)"
EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38,62})/(.+)")
OTHER_EXPERIMENTS = ("refs/exps/exec/", "refs/exps/stash", "refs/exps/celery/", "refs/exps/temp/")
KINDS = {"refs/heads/": "branch", "refs/tags/": "tag", "refs/remotes/": "remote"}


@dataclass
class Revision:
    """A commit or an experiment.

    Attributes:
        commit: its hash.
        parents: hashes of the parents that the repository has; of an experiment, the commit that it is based on.
        when: seconds since 1970.
        title: the first line of the message.
        experiment: the experiment's name; empty for a commit.
        refs: kind and name of each branch and tag that marks it.
    """

    commit: str
    parents: tuple[str, ...]
    when: int
    author: str
    title: str
    experiment: str = ""
    refs: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """The revisions, the oldest commit first and experiments after them, and what is known to be missing."""

    revisions: tuple[Revision, ...]
    head: str
    branch: str  # empty if a commit is checked out without a branch
    is_shallow: bool
    is_limited: bool  # there are more commits than were asked for


def read_history(root: Path, limit: int) -> History:
    """Returns the newest `limit` commits of HEAD, branches and tags, and all experiments.

    Raises:
        GitFailed: git refuses to read the repository.
    """
    head = head_commit(root)
    commits = _log(root, ["--topo-order", f"--max-count={limit + 1}", head, "--branches", "--tags", "--remotes"])
    is_limited = len(commits) > limit
    commits = commits[:limit]
    known = {commit.commit: commit for commit in commits}
    experiments = _add_refs(root, known)
    branch = _clean(git_text(["symbolic-ref", "--short", "--quiet", "HEAD"], root, allowed=[1]))
    is_shallow = git_text(["rev-parse", "--is-shallow-repository"], root) == "true"
    return History((*reversed(commits), *experiments), head, branch, is_shallow, is_limited)


def _clean(text: str) -> str:
    """Returns a text of git with a question mark for each byte that is not UTF-8, so that it can be written."""
    return text.encode(errors="replace").decode()


def _log(root: Path, arguments: Sequence[str]) -> list[Revision]:
    text = _clean(git_text(["log", f"--format={FORMAT}", *arguments], root))
    rows = (line.split("\x1f", 4) for line in text.split("\n") if line.count("\x1f") >= 4)
    return [Revision(row[0], tuple(row[1].split()), int(row[2]), row[3], row[4]) for row in rows]


def _add_refs(root: Path, known: dict[str, Revision]) -> list[Revision]:
    """Adds branches and tags to the commits that they mark, and returns the experiments, the oldest first."""
    text = _clean(git_text(["for-each-ref", f"--format={REF_FORMAT}"], root))
    experiments = []
    for line in text.split("\n"):
        name, own, peeled, when, author = [*line.split("\x1f"), *[""] * 5][:5]
        if not name or name.startswith(OTHER_EXPERIMENTS):
            continue
        found = EXPERIMENT.fullmatch(name)
        if found:
            experiments.append(Revision(own, (found[1] + found[2],), int(when or 0), author, "", found[3]))
            continue
        kind = next((kind for prefix, kind in KINDS.items() if name.startswith(prefix)), "")
        revision = known.get(peeled or own)
        if kind and revision is not None and not name.endswith("/HEAD"):
            revision.refs.append((kind, name.split("/", 2)[2]))
    _drop_known_remotes(known)
    return sorted(experiments, key=lambda item: (item.when, item.experiment))


def _drop_known_remotes(known: dict[str, Revision]) -> None:
    """Removes names such as origin/main from commits that the branch of the same name marks too."""
    for revision in known.values():
        own = {name for kind, name in revision.refs if kind == "branch"}
        revision.refs = [
            (kind, name) for kind, name in revision.refs if kind != "remote" or name.partition("/")[2] not in own
        ]


def lock_folders(root: Path, history: History) -> list[str]:
    """Returns the folders with a dvc.yaml or dvc.lock at HEAD or a branch, below the project's folder."""
    tips = [revision.commit for revision in history.revisions if any(kind == "branch" for kind, _ in revision.refs)]
    folders = {""}
    for commit in dict.fromkeys([history.head, *tips[-20:]]):
        try:
            names = git_names(["ls-tree", "-r", "-z", "--name-only", commit], root)
        except GitFailed:
            continue
        folders |= {str(Path(name).parent) for name in names if Path(name).name in ("dvc.yaml", "dvc.lock")}
    return sorted(folder if folder != "." else "" for folder in folders)
