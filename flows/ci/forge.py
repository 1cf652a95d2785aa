"""The HTTP API of a repository at GitHub or GitLab: where it is, with which token, and one request to it.

The server is not trusted: an answer has a limit in bytes and time, redirects are not followed, since the token would go
with them, and an answer of another form is an error in one sentence.
"""

import json
import os
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from flows.core.errors import ForgeFailed
from flows.core.redaction import mask
from stages.base.shown_text import network_reason

TIMEOUT_S = 30.0  # for a connection, and for each part of an answer
ANSWER_S = 60.0  # for a whole answer
MAX_BYTES = 20_000_000  # of an answer
CONNECT_RETRIES = 3
PAGE_SIZE = 100
MAX_PAGES = 50
MAX_REASON = 200  # characters of the server's own message
GITHUB, GITLAB = "GitHub", "GitLab"
PUBLIC_API = {"github.com": "https://api.github.com", "gitlab.com": "https://gitlab.com/api/v4"}
ADDRESSES = {GITHUB: "GITHUB_API_URL", GITLAB: "CI_API_V4_URL"}  # variables, which a company's own server needs
NEEDED = {
    GITHUB: "the permissions `contents`, `pull-requests` and `statuses`, each `write`",
    GITLAB: "the scope `api` and the role Developer",
}
HELPERS = {  # of git, which asks them for a user and a password
    GITHUB: '!f() { echo username=x-access-token; echo "password=${GITHUB_TOKEN:-$GH_TOKEN}"; }; f',
    GITLAB: '!f() { echo username=oauth2; echo "password=$INKFLOW_GITLAB_TOKEN"; }; f',
}
# `git@host:owner/name.git`, or a URL with a host; a path of this machine has none.
SCP_LIKE = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^:/\s]+):(?!//)(?P<path>.+)")

T = TypeVar("T")


@dataclass(frozen=True)
class Forge:
    """A repository at GitHub or GitLab.

    Attributes:
        kind: GITHUB or GITLAB.
        url: URL of the repository or project in the API.
        headers: HTTP headers with the token, which no text shows.
        permission: the permission that the token needs, for messages.
    """

    kind: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    permission: str


def find_forge(remote_url: str, environment: Mapping[str, str]) -> Forge | str:
    """Returns the forge of Git's remote at `remote_url`, or a sentence why there is none.

    A token goes to the forge that it is for alone: to github.com or gitlab.com, or to the address in GITHUB_API_URL or
    CI_API_V4_URL, which a company's own server needs. The repository is that of the remote; the variables of a CI job
    name it only where the remote has no owner and name.
    """
    host, path = _split(remote_url)
    github, gitlab = github_token(environment), environment.get("INKFLOW_GITLAB_TOKEN")
    addresses = {kind: (environment.get(name) or "").rstrip("/") for kind, name in ADDRESSES.items()}
    if host == "github.com" or (host != "gitlab.com" and addresses[GITHUB] and github):
        kind, token, variable = GITHUB, github, "GITHUB_TOKEN"
    elif host == "gitlab.com" or (addresses[GITLAB] and gitlab):
        kind, token, variable = GITLAB, gitlab, "INKFLOW_GITLAB_TOKEN"
    elif github or gitlab:
        name = "GITHUB_API_URL" if github else "CI_API_V4_URL"
        return f"{host or 'the remote'} is neither github.com nor gitlab.com; set {name} if a forge serves it"
    else:
        return "no token of a forge is set (GITHUB_TOKEN, INKFLOW_GITLAB_TOKEN)"
    if not token:
        return f"{variable} is not set"
    stated, public = addresses[kind], PUBLIC_API.get(host)
    if stated and public and stated != public:
        name = ADDRESSES[kind]
        return f"the remote is at {host}, but {variable} is for {stated} ({name}); correct the remote, or unset {name}"
    path = _below(stated, remote_url, path)
    if kind == GITHUB:
        own = path if path.count("/") == 1 else environment.get("GITHUB_REPOSITORY") or path
        return github_forge(public or stated, own, token)
    return gitlab_forge(public or stated, path if "/" in path else environment.get("CI_PROJECT_ID") or path, token)


def forge_of_job(environment: Mapping[str, str]) -> tuple[Forge, str] | str:
    """Returns the repository and the commit of this CI job, or a sentence why there is none."""
    if environment.get("GITHUB_ACTIONS"):
        token = github_token(environment)
        if not token:
            return "GITHUB_TOKEN is not set"
        repository = github_forge(environment["GITHUB_API_URL"], environment["GITHUB_REPOSITORY"], token)
        return repository, environment["GITHUB_SHA"]
    if environment.get("GITLAB_CI"):
        token = environment.get("INKFLOW_GITLAB_TOKEN")
        if not token:
            return "INKFLOW_GITLAB_TOKEN is not set; a job's own token can read no merge requests (docs/ci.md)"
        project = gitlab_forge(environment["CI_API_V4_URL"], environment["CI_PROJECT_ID"], token)
        return project, environment["CI_COMMIT_SHA"]
    return "this is not a job of GitHub or GitLab"


def github_token(environment: Mapping[str, str]) -> str | None:
    """Returns the token for GitHub, as its own programs name it."""
    return environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN")


def github_forge(api: str, repository: str, token: str) -> Forge:
    """Returns the repository `owner/name` at the GitHub API `api`."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    return Forge(GITHUB, f"{api}/repos/{repository}", headers, NEEDED[GITHUB])


def gitlab_forge(api: str, project: str, token: str) -> Forge:
    """Returns the project with this number or path at the GitLab API `api`."""
    quoted = urllib.parse.quote(project, safe="")
    return Forge(GITLAB, f"{api}/projects/{quoted}", {"PRIVATE-TOKEN": token}, NEEDED[GITLAB])


def lend_token(repository: Forge, remote_url: str) -> None:
    """Lets git, started by this process, use the token for Git's remote, if the remote is at this forge by HTTPS.

    Git asks a helper, which reads the variable: the token is in no address, file or command line.
    """
    parts = _url_parts(remote_url)
    api = _url_parts(repository.url)
    if parts is None or api is None or parts.scheme != "https":
        return
    host = parts.netloc.rpartition("@")[2]
    if api.netloc not in (host, f"api.{host}"):
        return
    set_git_option(f"credential.https://{host}.helper", HELPERS[repository.kind])


def set_git_option(key: str, value: str) -> None:
    """Sets an option for all git commands that this process starts, in no file and no command line."""
    count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    os.environ |= {f"GIT_CONFIG_KEY_{count}": key, f"GIT_CONFIG_VALUE_{count}": value}
    os.environ["GIT_CONFIG_COUNT"] = str(count + 1)


@contextmanager
def client(headers: Mapping[str, str]) -> Iterator[httpx.Client]:
    """Yields an HTTP client that sends `headers`.

    Raises:
        ForgeFailed: the token cannot be sent: it has a line feed, or characters that are not ASCII. Or a proxy or
            certificate file of the environment cannot be used.
    """
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise ForgeFailed("the token has characters that no token has, such as a line feed; set it again")
    try:
        # httpx reads the proxy variables only if it is given no transport
        has_proxy = bool(urllib.request.getproxies().keys() - {"no"})
        transport = None if has_proxy else httpx.HTTPTransport(retries=CONNECT_RETRIES)
        session = httpx.Client(headers=dict(headers), timeout=TIMEOUT_S, transport=transport)
    except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:  # proxies, certificates
        raise ForgeFailed(f"the network settings cannot be used ({network_reason(error)})") from error
    with session:
        yield session


def request(session: httpx.Client, permission: str, method: str, url: str, **content: Any) -> Any:
    """Sends one request and returns the JSON value of its answer.

    Raises:
        ForgeFailed: the server cannot be reached, refuses, or answers with something else.
    """
    deadline, body = time.monotonic() + ANSWER_S, b""
    try:
        with session.stream(method, url, **content) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES or time.monotonic() > deadline:
                    raise ForgeFailed(
                        f"the answer to {method} {url} has not ended after {len(body)} bytes or {ANSWER_S:g} s"
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ForgeFailed(f"{_host(url)} cannot be reached ({network_reason(error)})") from error
    if not response.is_success:
        raise ForgeFailed(
            f"{method} {url} was answered {response.status_code}: {_refusal(response.status_code, body, permission)}",
            response.status_code,
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ForgeFailed(f"{method} {url} was answered with something that is not JSON") from error


def pages(session: httpx.Client, permission: str, url: str, **parameters: Any) -> Iterator[Any]:
    """Yields the items of a list that the API serves in pages.

    Raises:
        ForgeFailed: see `request`.
    """
    for page in range(1, MAX_PAGES + 1):
        query = parameters | {"per_page": PAGE_SIZE, "page": page}
        items = request(session, permission, "GET", url, params=query)
        if not isinstance(items, list):
            raise ForgeFailed(f"GET {url} was answered with something that is not a list")
        yield from items
        if len(items) < PAGE_SIZE:
            return


def understood(url: str, read: Callable[[], T]) -> T:
    """Returns what `read` takes out of an answer.

    Raises:
        ForgeFailed: the answer lacks a part, or has it in another form.
    """
    try:
        return read()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ForgeFailed(f"{url} was answered in a form that no forge has ({error!r})") from error


def _refusal(code: int, body: bytes, permission: str) -> str:
    """Returns why a request was refused: what the token needs, or the server's own message."""
    if code == 401:
        return "the token is wrong or has expired; set a valid one"
    if code in (403, 404):  # a limit on requests is answered 403 too
        return f"the token needs {permission} (the server's message: {_stated_reason(body)})"
    if 300 <= code < 400:
        return "a redirect, which is not followed; set the address to which it leads"
    if code == 429 or code >= 500:
        return "the server has a problem; try again later"
    return _stated_reason(body)


def _stated_reason(body: bytes) -> str:
    """Returns the message in a refusal, or `no reason`."""
    try:
        content = json.loads(body)
        message = content.get("message") or content.get("error")
        details = [item.get("message") for item in content.get("errors", []) if isinstance(item, dict)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        message, details = "no reason", []
    text = "; ".join(str(item) for item in [message, *details] if item)
    return " ".join(mask(text).split())[:MAX_REASON] or "no reason"  # a part of a secret would not be found


def _split(remote_url: str) -> tuple[str, str]:
    """Returns host and path of Git's remote, the path without slashes around it and without `.git`; empty for none."""
    if "://" in remote_url:
        parts = _url_parts(remote_url)
        host, path = (parts.hostname or "", parts.path) if parts else ("", "")
    else:
        match = SCP_LIKE.fullmatch(remote_url)
        host, path = (match["host"], match["path"]) if match else ("", "")
    return host.lower().removeprefix("www."), path.strip("/").removesuffix(".git")


def _below(api: str, remote_url: str, path: str) -> str:
    """Returns the path without the folder of a GitLab that does not have its host alone, as in the address `api`."""
    parts = _url_parts(api)
    folder = parts.path.strip("/").removesuffix("api/v4") if parts and remote_url.startswith("http") else ""
    return path.removeprefix(folder) if folder.endswith("/") else path


def _url_parts(url: str) -> urllib.parse.SplitResult | None:
    """Returns the parts of a URL; None for a text that is none."""
    try:
        return urllib.parse.urlsplit(url)
    except ValueError:
        return None


def _host(url: str) -> str:
    parts = _url_parts(url)
    return (parts and parts.hostname) or "the forge"
