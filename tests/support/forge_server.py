"""A real HTTP server on loopback with the APIs of GitHub and GitLab for requests of a branch and statuses of a commit.

The repository is `us/inkflow` at GitHub and project 42 at GitLab; both have the same requests.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback import JsonHandler, serving

TOKEN = "a-token-that-may-write-requests"
GITHUB, GITLAB = "/repos/us/inkflow", "/projects/42"
NAMES = {  # of the parts of a request: here, at GitLab
    "number": "iid", "body": "description", "html_url": "web_url", "head": "source_branch", "base": "target_branch",
}  # fmt: skip


class ForgeServer:
    """The state of the forge; tests read and change it.

    Attributes:
        default: name of the default branch.
        requests: the requests by number, with GitHub's names.
        statuses: state and description by commit and name.
        calls: method and path of each request over HTTP.
        answers: answers in place of the real ones, by method and path: an HTTP status, and a JSON value or bytes.
        merged: branches by the commit that merged them.
        hidden: list no request once, as if the one of the branch was opened a moment later.
    """

    def __init__(self) -> None:
        self.default = "main"
        self.requests: dict[int, dict[str, Any]] = {}
        self.statuses: dict[tuple[str, str], tuple[str, str]] = {}
        self.calls: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], tuple[int, object]] = {}
        self.merged: dict[str, str] = {}
        self.hidden = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"forge": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    @contextmanager
    def running(self) -> Iterator["ForgeServer"]:
        """Serves until the block ends."""
        with serving(self._http):
            yield self

    def environment(self, kind: str) -> dict[str, str]:
        """Returns the variables with which the code finds this server as a forge of that kind."""
        if kind == "GitHub":
            return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": "us/inkflow", "GITHUB_TOKEN": TOKEN}
        return {"CI_API_V4_URL": self.url, "CI_PROJECT_ID": "42", "INKFLOW_GITLAB_TOKEN": TOKEN}

    def answer(self, method: str, path: str, query: Mapping[str, str], content: Any) -> tuple[int, object]:
        """Returns HTTP status and JSON value for one request."""
        top = GITHUB if path.startswith(GITHUB) else GITLAB
        rest = path.removeprefix(top).strip("/")
        if not rest:
            return 200, {"default_branch": self.default}
        if rest in ("pulls", "merge_requests"):
            return self._list(top, query) if method == "GET" else self._open(top, content)
        if match := re.fullmatch(r"(?:pulls|merge_requests)/(\d+)", rest):
            self.requests[int(match[1])] |= _as_github(content)
            return 200, _shown(self.requests[int(match[1])], top)
        if match := re.fullmatch(r"(?:repository/)?commits/(\w+)/(pulls|merge_requests|statuses)", rest):
            return 200, self._of_commit(match[1], match[2], top)
        if match := re.fullmatch(r"statuses/(\w+)", rest):
            name = content.get("context") or content.get("name")
            self.statuses[match[1], name] = (content["state"], content["description"])
            return 201, {}
        return 404, {"message": "Not Found"}

    def _list(self, top: str, query: Mapping[str, str]) -> tuple[int, object]:
        branch = query.get("head", query.get("source_branch", "")).removeprefix("us:")
        hidden, self.hidden = self.hidden, False
        found = [item for item in self.requests.values() if item["head"] == branch and item["state"] == "open"]
        return 200, [] if hidden else [_shown(item, top) for item in found]

    def _open(self, top: str, content: Any) -> tuple[int, object]:
        item = _as_github(content)
        if any(other["head"] == item["head"] and other["state"] == "open" for other in self.requests.values()):
            code = 422 if top == GITHUB else 409
            return code, {"message": "Validation Failed", "errors": [{"message": "a request already exists"}]}
        number = len(self.requests) + 1
        self.requests[number] = item | {"number": number, "state": "open", "html_url": f"{self.url}/r/{number}"}
        return 201, _shown(self.requests[number], top)

    def _of_commit(self, sha: str, what: str, top: str) -> list[dict[str, Any]]:
        if what == "statuses":
            found = [(name, state) for (commit, name), (state, _) in self.statuses.items() if commit == sha]
            keys = ("context", "state") if top == GITHUB else ("name", "status")
            return [dict(zip(keys, item, strict=True)) for item in found]
        branch = self.merged.get(sha)
        item = {"number": 1, "head": branch, "base": "main", "merged_at": "2026-11-28T00:00:00Z"}
        return [_shown(item, top)] if branch else []


def _as_github(content: Mapping[str, Any]) -> dict[str, Any]:
    names = {value: key for key, value in NAMES.items()}
    return {names.get(key, key): value for key, value in content.items()}


def _shown(item: Mapping[str, Any], top: str) -> dict[str, Any]:
    """Returns a request as this forge shows it."""
    if top == GITHUB:
        return {**item, "head": {"ref": item["head"], "repo": {"id": 1}}, "base": {"ref": "main", "repo": {"id": 1}}}
    return {NAMES.get(key, key): value for key, value in item.items()} | {
        "source_project_id": 42, "target_project_id": 42
    }  # fmt: skip


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    forge: ForgeServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length)) if length else {}
        call = (self.command, url.path)
        self.forge.calls.append(call)
        if call in self.forge.answers:
            code, answer = self.forge.answers[call]
        elif not self._is_authorised():
            code, answer = 401, {"message": "Bad credentials"}
        else:
            code, answer = self.forge.answer(*call, query, content)
        if isinstance(answer, bytes):
            self._send(code, answer)
        else:
            self.answer(code, answer)

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - http.server's names

    def _send(self, code: int, answer: bytes) -> None:
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", answer.decode())
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _is_authorised(self) -> bool:
        token = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        return token == TOKEN
