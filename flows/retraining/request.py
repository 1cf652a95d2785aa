"""Pushes the branch of a retraining and opens a pull or merge request for it, where there is a forge."""

import os
from dataclasses import dataclass
from pathlib import Path

from flows.ci import forge
from flows.ci.comment import MAX_CHARACTERS
from flows.ci.forge import Forge, find_forge
from flows.ci.pull_request import PullRequests
from flows.core.errors import BranchKept, ForgeFailed
from flows.core.redaction import mask
from flows.retraining.branch import Branch, git_remote, push_branch
from flows.retraining.comparison import Comparison, as_lines, as_markdown, checks
from stages.base.shown_text import one_line

MARK = "<!-- inkflow retrain -->"


@dataclass(frozen=True)
class Retraining:
    """A finished retraining.

    Attributes:
        dataset: the data set that changed at its source.
        folder: the project's folder in its Git repository, with `/` at the end; empty if it is the repository's.
        change: a sentence on the change.
        comparison: the models before and after.
        remote: a sentence on the files in the DVC remote; it is for the request alone.
    """

    dataset: str
    folder: str
    change: str
    comparison: Comparison
    remote: str = ""

    @property
    def title(self) -> str:
        """The first line of the commit, and the title of the request."""
        return f"Retrain on new data of {self.dataset}" + (f" in {one_line(self.folder)}" if self.folder else "")

    @property
    def commit_message(self) -> str:
        """What changed, and how the models compare."""
        return mask("\n\n".join([self.title, f"{self.change}.", "\n".join(as_lines(self.comparison))]))

    def text(self, branch: Branch) -> str:
        """Returns the text of the request."""
        origin = (
            f"Made by `retrain-on-new-data` on top of `{branch.base[:10]}`: the digests in `params.yaml`, `dvc.lock`, "
            f"metrics and `environment.lock`. {self.remote}. The gates are statuses of the commit."
        )
        text = mask("\n\n".join([MARK, f"{self.change}.", as_markdown(self.comparison), origin]))
        return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}\n\n(cut)"


def propose(root: Path, branch: Branch, done: Retraining) -> str:
    """Pushes the branch, opens a request for it or updates the open one, and returns a sentence.

    Without a remote of Git, or without the token of a forge, nothing is pushed, and the sentence says so.

    Raises:
        BranchKept: the remote or the forge refuses, or cannot be reached.
    """
    remote = git_remote(root)
    if remote is None:
        return "it is only here: Git has no remote; push it and open a request yourself"
    name, url = remote
    found = find_forge(url, os.environ)
    if isinstance(found, str):
        return f"it is only here: {mask(found)}; push it and open a request yourself (docs/operations.md)"
    forge.lend_token(found, url)
    default = push_branch(root, branch, name)
    try:
        return f"pushed to {name}; {_open(found, branch, done, default)}"
    except ForgeFailed as error:
        problem = f"its request is not complete, though it was pushed to {name}: {error}; run again to repeat it"
        raise BranchKept(branch.name, problem) from error


def _open(repository: Forge, branch: Branch, done: Retraining, default: str | None) -> str:
    with forge.client(repository.headers) as session:
        requests = PullRequests(session, repository)
        base = default or requests.default_branch()
        if base == branch.name:
            raise ForgeFailed(f"{repository.url} names {base} as its default branch: no base to merge into")
        sentence = requests.put(branch.name, base, done.title, done.text(branch))
        requests.set_statuses(branch.commit, checks(done.comparison))
    return sentence
