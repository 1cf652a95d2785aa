"""Pull requests (GitHub) and merge requests (GitLab) of a branch, and the statuses of its commit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from flows.ci import forge
from flows.ci.forge import GITHUB, GITLAB, Forge, understood
from flows.core.errors import ForgeFailed
from flows.core.redaction import mask

MAX_DESCRIPTION = 140  # characters of a status at GitHub
ALREADY_THERE = (409, 422)  # HTTP statuses of GitLab and GitHub for a second request of a branch


class Check(NamedTuple):
    """The status of a commit: its name, whether it passed (None: this could not be judged), and a sentence."""

    name: str
    passed: bool | None
    sentence: str


@dataclass(frozen=True)
class _Words:
    """How a forge names its requests, their parts, and the statuses of a commit."""

    noun: str
    requests: str  # path of the list
    open: str  # state
    filter: str  # parameter with the branch
    number: str
    page: str
    text: str
    update: str  # HTTP method
    head: str
    base: str
    statuses: str  # path of the statuses of a commit
    context: str  # name of a status
    state: str
    failure: str
    unknown: str  # neither passed nor failed; at both forges a required status of this state stops a merge
    of_commit: str  # path of the requests that brought a commit


_GITHUB = _Words(
    noun="pull request", requests="pulls", open="open", filter="head", number="number", page="html_url", text="body",
    update="PATCH", head="head", base="base", statuses="commits/{sha}/statuses", context="context", state="state",
    failure="failure", unknown="error", of_commit="commits/{sha}/pulls",
)  # fmt: skip
_GITLAB = _Words(
    noun="merge request", requests="merge_requests", open="opened", filter="source_branch", number="iid",
    page="web_url", text="description", update="PUT", head="source_branch", base="target_branch",
    statuses="repository/commits/{sha}/statuses", context="name", state="status", failure="failed",
    unknown="canceled",
    of_commit="repository/commits/{sha}/merge_requests",
)  # fmt: skip


class PullRequests:
    """The requests of one repository; each method is one or a few HTTP requests.

    Raises:
        ForgeFailed: by each method: the forge refuses, cannot be reached, or answers with something else.
    """

    def __init__(self, session: httpx.Client, repository: Forge) -> None:
        self._session = session
        self._forge = repository
        self._words = _GITHUB if repository.kind == GITHUB else _GITLAB

    def default_branch(self) -> str:
        """Returns the name of the repository's default branch."""
        answer = self._request("GET", "")
        return str(self._read(answer, "default_branch"))

    def put(self, branch: str, base: str, title: str, text: str) -> str:
        """Opens a request for `branch`, or updates the open one; returns a sentence with its address."""
        words = self._words
        content = {"title": title, words.text: text}
        number = self._open_number(branch)
        if number is None:
            try:
                answer = self._request("POST", words.requests, {**content, words.head: branch, words.base: base})
                return self._sentence(answer, "opened")
            except ForgeFailed as error:  # opened by another run since
                number = self._open_number(branch) if error.code in ALREADY_THERE else None
                if number is None:
                    raise
        return self._sentence(self._request(words.update, f"{words.requests}/{number}", content), "updated")

    def set_statuses(self, sha: str, checks: Sequence[Check]) -> None:
        """Gives the commit a status for each check, unless it has this status already."""
        words = self._words
        latest: dict[str, str] = {}
        for item in self._items(words.statuses.format(sha=sha)):  # GitHub's newest is the first
            latest.setdefault(self._read(item, words.context), self._read(item, words.state))
        for check in checks:
            state = words.unknown if check.passed is None else "success" if check.passed else words.failure
            if latest.get(check.name) != state:
                content = {words.context: check.name, "state": state, "description": _cut(mask(check.sentence))}
                self._request("POST", f"statuses/{sha}", content)

    def merged_branches(self, sha: str) -> list[str]:
        """Returns the branches of this repository whose merged requests brought the commit."""
        items = list(self._items(self._words.of_commit.format(sha=sha)))
        merged = [item for item in items if understood(self._forge.url, lambda item=item: item["merged_at"])]  # type: ignore[misc]
        return [self._branch(item) for item in merged if self._is_own(item)]

    def _open_number(self, branch: str) -> int | None:
        """Returns the number of the open request of `branch`; None without one."""
        words, wanted = self._words, branch
        if self._forge.kind == GITHUB:  # with its owner: forks have branches too
            wanted = f"{self._forge.url.rpartition('/repos/')[2].partition('/')[0]}:{branch}"
        for item in self._items(words.requests, **{"state": words.open, words.filter: wanted}):
            if self._is_own(item) and self._branch(item) == branch:
                return int(self._read(item, words.number, int))
        return None

    def _is_own(self, item: Any) -> bool:
        """Returns True unless the request comes from a fork."""
        if self._forge.kind == GITLAB:
            return understood(self._forge.url, lambda: bool(item["source_project_id"] == item["target_project_id"]))
        own = understood(self._forge.url, lambda: item["base"]["repo"]["id"])
        return understood(self._forge.url, lambda: bool(item["head"]["repo"] and item["head"]["repo"]["id"] == own))

    def _branch(self, item: Any) -> str:
        head = understood(self._forge.url, lambda: item["head"]) if self._forge.kind == GITHUB else item
        return str(self._read(head, "ref" if self._forge.kind == GITHUB else self._words.head))

    def _read(self, item: Any, key: str, kind: type = str) -> Any:
        """Returns the value of an item, which has to be of this kind."""
        value = understood(self._forge.url, lambda: item[key])
        if not isinstance(value, kind):
            raise ForgeFailed(f"{self._forge.url} was answered with {key}: {value!r}, expected {kind.__name__}")
        return value

    def _sentence(self, answer: Any, done: str) -> str:
        page, number = self._read(answer, self._words.page), self._read(answer, self._words.number, int)
        address = f": {page}" if page.startswith(("https://", "http://")) and page.isprintable() else ""
        return f"{self._words.noun} {number} {done}{address}"

    def _items(self, path: str, **parameters: Any) -> Iterator[Any]:
        return forge.pages(self._session, self._forge.permission, f"{self._forge.url}/{path}", **parameters)

    def _request(self, method: str, path: str, content: Any = None) -> Any:
        url = f"{self._forge.url}/{path}" if path else self._forge.url
        options = {} if content is None else {"json": content}
        return forge.request(self._session, self._forge.permission, method, url, **options)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_DESCRIPTION else f"{text[: MAX_DESCRIPTION - 1]}…"
