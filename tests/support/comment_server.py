"""A real HTTP server on loopback that keeps comments as GitHub and GitLab do: in pages, for those with a token."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback import JsonHandler, serving

TOKEN = "a-token-that-may-write"
# Where each keeps the comments of request 7, and a single one; how one is changed.
LISTS = {"/repos/us/inkflow/issues/7/comments", "/projects/42/merge_requests/7/notes"}
ONE = re.compile(r"(/repos/us/inkflow/issues/comments|/projects/42/merge_requests/7/notes)/(\d+)")


class Comments:
    """The comments of one request, by number; what was asked for."""

    def __init__(self) -> None:
        self.bodies: dict[int, str] = {}
        self.asked: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"comments": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    @contextmanager
    def running(self) -> Iterator["Comments"]:
        """Serve as long as the block lasts."""
        with serving(self._http):
            yield self

    def page(self, query: str) -> list[dict[str, Any]]:
        """The comments of the page that is asked for."""
        asked = {name: int(values[0]) for name, values in parse_qs(query).items()}
        size, start = asked.get("per_page", 30), (asked.get("page", 1) - 1) * asked.get("per_page", 30)
        return [{"id": number, "body": body} for number, body in self.bodies.items()][start : start + size]


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    comments: Comments

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if self._may() and where.path in LISTS:
            self.answer(200, self.comments.page(where.query))
        else:
            self._refuse()

    def do_POST(self) -> None:
        if self._may() and self.path in LISTS:
            number = len(self.comments.bodies) + 1
            self.comments.bodies[number] = self._body()
            self.answer(201, {"id": number})
        else:
            self._refuse()

    def do_PATCH(self) -> None:
        self._change("/repos/")

    def do_PUT(self) -> None:
        self._change("/projects/")

    def _change(self, service: str) -> None:
        one = ONE.fullmatch(self.path)
        if self._may() and one and one[1].startswith(service) and int(one[2]) in self.comments.bodies:
            self.comments.bodies[int(one[2])] = self._body()
            self.answer(200, {"id": int(one[2])})
        else:
            self._refuse()

    def _may(self) -> bool:
        self.comments.asked.append(f"{self.command} {urlsplit(self.path).path}")
        given = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        return given == TOKEN

    def _refuse(self) -> None:
        self.answer(404 if self._may() else 403, {"message": "Resource not accessible by integration"})

    def _body(self) -> str:
        return str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])
