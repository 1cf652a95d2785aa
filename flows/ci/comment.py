"""One comment on the pull request (GitHub) or merge request (GitLab) of this job: written once, then written anew.

Where the job runs and what it may do, it says in its environment; elsewhere nothing is done, and that is said.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flows.core.errors import CommentFailed
from flows.core.redaction import mask
from stages.base.errors import EXIT_DONE, InvalidInput

MARK = "<!-- inkflow ci -->"  # by which the comment is found again; it does not show
TIMEOUT_S = 30.0
TRIES = 3  # of a connection
LONGEST = 60_000  # characters: GitHub takes 65,536
A_PAGE = 100  # comments
PAGES = 50


@dataclass(frozen=True)
class Thread:
    """Where comments of one pull or merge request are listed and made, and how one of them is reached."""

    list_url: str
    one_url: str
    headers: Mapping[str, str]
    change: str  # the method that changes a comment
    needed: str  # what the token must be allowed

    def of(self, number: object) -> str:
        """Address of one comment."""
        return f"{self.one_url}/{number}"


def comment(files: Sequence[Path]) -> int:
    """Put the `files` on this job's pull or merge request, in one comment; the exit code.

    Raises:
        InvalidInput: there is nothing to say.
        CommentFailed: the service refuses, or cannot be reached.
    """
    thread = find_thread(os.environ)
    if isinstance(thread, str):
        print(f"no comment: {thread}")
        return EXIT_DONE
    print(put(thread, _body(files)))
    return EXIT_DONE


def _body(files: Sequence[Path]) -> str:
    try:
        texts = [path.read_text(encoding="utf-8").strip() for path in files]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"a summary cannot be read: {error}; `inkflow ci check` and `inkflow ci run` write them"
        ) from error
    if not texts:
        raise InvalidInput("there is no summary; `inkflow ci check` and `inkflow ci run` write them")
    text = mask("\n\n".join([MARK, *texts]))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n\n(cut here: the rest is on the job's page)"


def put(thread: Thread, body: str) -> str:
    """Write the comment, anew where there is one already; what was done."""
    transport = httpx.HTTPTransport(retries=TRIES)
    try:
        with httpx.Client(headers=dict(thread.headers), timeout=TIMEOUT_S, transport=transport) as client:
            number = next((note["id"] for note in _notes(client, thread) if note["body"].startswith(MARK)), None)
            if number is None:
                _ask(client, thread, "POST", thread.list_url, json={"body": body})
                return "comment written"
            _ask(client, thread, thread.change, thread.of(number), json={"body": body})
            return "comment written anew"
    except httpx.HTTPError as error:
        raise CommentFailed(f"{httpx.URL(thread.list_url).host} cannot be reached ({error})") from error


def _notes(client: httpx.Client, thread: Thread) -> Iterator[dict[str, Any]]:
    """The comments that there are, page after page."""
    for page in range(1, PAGES + 1):
        notes = _ask(client, thread, "GET", thread.list_url, params={"per_page": A_PAGE, "page": page})
        yield from notes
        if len(notes) < A_PAGE:
            return


def _ask(client: httpx.Client, thread: Thread, method: str, url: str, **content: Any) -> Any:
    answer = client.request(method, url, **content)
    if not answer.is_success:
        raise CommentFailed(f"{method} {url} was answered {answer.status_code}: the token needs {thread.needed}")
    try:
        return answer.json()
    except ValueError as error:
        raise CommentFailed(f"{method} {url} was answered with something that is not JSON") from error


def find_thread(environment: Mapping[str, str]) -> Thread | str:
    """Where this job's comments stand; a reason where it has no such place."""
    if environment.get("GITHUB_ACTIONS"):
        return _on_github(environment)
    if environment.get("GITLAB_CI"):
        return _on_gitlab(environment)
    return "this is no job of GitHub or GitLab"


def _on_github(environment: Mapping[str, str]) -> Thread | str:
    number = _pull_request(Path(environment.get("GITHUB_EVENT_PATH", "")))
    if number is None:
        return "this job is for no pull request"
    token = environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN")
    if not token:
        return "GITHUB_TOKEN is not set"
    api = f"{environment['GITHUB_API_URL']}/repos/{environment['GITHUB_REPOSITORY']}/issues"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    return Thread(
        f"{api}/{number}/comments", f"{api}/comments", headers, "PATCH", "the permission `pull-requests: write`"
    )


def _pull_request(event: Path) -> int | None:
    """Number of the pull request that the event is about."""
    try:
        content = json.loads(event.read_text(encoding="utf-8"))
        return int(content["pull_request"]["number"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _on_gitlab(environment: Mapping[str, str]) -> Thread | str:
    number = environment.get("CI_MERGE_REQUEST_IID")
    if not number:
        return "this job is for no merge request"
    token = environment.get("INKFLOW_GITLAB_TOKEN")
    if not token:
        return "INKFLOW_GITLAB_TOKEN is not set; a job's own token may not write comments (docs/ci.md)"
    notes = f"{environment['CI_API_V4_URL']}/projects/{environment['CI_PROJECT_ID']}/merge_requests/{number}/notes"
    return Thread(notes, notes, {"PRIVATE-TOKEN": token}, "PUT", "the scope `api` and the role Heartbeat")
