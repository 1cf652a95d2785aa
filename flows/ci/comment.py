"""Puts the summaries of a CI job into one comment on its pull request (GitHub) or merge request (GitLab).

Later jobs update the same comment, unless another account wrote it. The job's environment variables name the request
and hold the token; outside of such a job, a line says that no comment is written.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flows.ci import forge
from flows.core.errors import CommentFailed, ForgeFailed
from flows.core.redaction import mask, say
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import parse_json

MARK = "<!-- inkflow ci -->"  # invisible first line by which the comment is found again
MAX_CHARACTERS = 60_000  # GitHub accepts 65,536


@dataclass(frozen=True)
class CommentApi:
    """The HTTP endpoints for the comments of one pull or merge request.

    Attributes:
        list_url: URL that lists comments and creates one.
        item_url: URL of a comment, without its id.
        user_url: URL that describes the owner of the token.
        headers: HTTP headers with the token.
        update_method: HTTP method that updates a comment.
        permission: The permission that the token needs, for messages.
    """

    list_url: str
    item_url: str
    user_url: str
    headers: Mapping[str, str]
    update_method: str
    permission: str


def comment(files: Sequence[Path]) -> int:
    """Writes the summary `files` as a comment on this job's pull or merge request, and returns the exit code.

    Raises:
        InvalidInput: There is no summary.
        CommentFailed: The service refuses the request, or cannot be reached.
    """
    api = _find_comment_api(os.environ)
    if isinstance(api, str):
        say(f"no comment: {api}")
        return EXIT_DONE
    say(_write_comment(api, _comment_body(files)))
    return EXIT_DONE


def _comment_body(files: Sequence[Path]) -> str:
    try:
        texts = [path.read_text(encoding="utf-8").strip() for path in files]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"a summary cannot be read: {error}; `inkflow ci check` and `inkflow ci run` write them"
        ) from error
    if not texts:
        raise InvalidInput("there is no summary; `inkflow ci check` and `inkflow ci run` write them")
    text = mask("\n\n".join([MARK, *texts]))
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}\n\n(cut: the rest is on the job's page)"


def _write_comment(api: CommentApi, body: str) -> str:
    """Creates the comment, or updates the existing one; returns a line that says which."""
    try:
        with forge.client(api.headers) as session:
            comments, own = forge.pages(session, api.permission, api.list_url), _own_id(session, api)
            found = (forge.understood(api.list_url, lambda item=item: _number(item, own)) for item in comments)  # type: ignore[misc]
            number = next((number for number in found if number is not None), None)
            if number is None:
                forge.request(session, api.permission, "POST", api.list_url, json={"body": body})
                return "comment created"
            url = f"{api.item_url}/{number}"
            forge.request(session, api.permission, api.update_method, url, json={"body": body})
            return "comment updated"
    except ForgeFailed as error:
        raise CommentFailed(str(error)) from error


def _own_id(session: httpx.Client, api: CommentApi) -> int | None:
    """Returns the id of the account that the token is of; None for a token of a job, which may not ask for it."""
    try:
        user = forge.request(session, api.permission, "GET", api.user_url)
        return forge.understood(api.user_url, lambda: int(user["id"]))
    except ForgeFailed:
        return None


def _number(item: Any, own: int | None) -> int | None:
    """Returns the number of a comment if it is ours; else anybody could have results written in their name.

    A token of a GitHub job is that of a bot.
    """
    if not item["body"].startswith(MARK):
        return None
    author = item.get("user") or item.get("author") or {}
    is_own = author.get("type", "Bot") == "Bot" if own is None else author.get("id") == own
    return int(item["id"]) if is_own else None


def _find_comment_api(environment: Mapping[str, str]) -> CommentApi | str:
    """Returns the comment API of this job's pull or merge request, or a sentence why there is none."""
    if environment.get("GITHUB_ACTIONS"):
        return _github_api(environment)
    if environment.get("GITLAB_CI"):
        return _gitlab_api(environment)
    return "this is not a job of GitHub or GitLab"


def _github_api(environment: Mapping[str, str]) -> CommentApi | str:
    number = _pull_request(Path(environment.get("GITHUB_EVENT_PATH", "")))
    if number is None:
        return "this job has no pull request"
    token = forge.github_token(environment)
    if not token:
        return "GITHUB_TOKEN is not set"
    repository = forge.github_forge(environment["GITHUB_API_URL"], environment["GITHUB_REPOSITORY"], token)
    issues, permission = f"{repository.url}/issues", "the permission `pull-requests: write`"
    user = f"{environment['GITHUB_API_URL']}/user"
    return CommentApi(
        f"{issues}/{number}/comments", f"{issues}/comments", user, repository.headers, "PATCH", permission
    )


def _pull_request(event: Path) -> int | None:
    """Returns the number of the pull request in the event file of a GitHub job, None if it has none."""
    try:
        content = parse_json(event.read_text(encoding="utf-8"))
        return int(content["pull_request"]["number"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _gitlab_api(environment: Mapping[str, str]) -> CommentApi | str:
    number = environment.get("CI_MERGE_REQUEST_IID")
    if not number:
        return "this job has no merge request"
    token = environment.get("INKFLOW_GITLAB_TOKEN")
    if not token:
        return "INKFLOW_GITLAB_TOKEN is not set; a job's own token cannot write comments (docs/ci.md)"
    project = forge.gitlab_forge(environment["CI_API_V4_URL"], environment["CI_PROJECT_ID"], token)
    notes = f"{project.url}/merge_requests/{number}/notes"
    user = f"{environment['CI_API_V4_URL']}/user"
    return CommentApi(notes, notes, user, project.headers, "PUT", "the scope `api` and the role Reporter")
