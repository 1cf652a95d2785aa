"""A real HTTP server on loopback with the comment APIs of GitHub and GitLab: pages of comments, behind a token."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback import JsonHandler, serving

TOKEN = "a-token-that-may-write"
# Paths of the comments of request 7, in a list and one by one.
LISTS = {"/repos/us/inkflow/issues/7/comments", "/projects/42/merge_requests/7/notes"}
ITEM = re.compile(r"(/repos/us/inkflow/issues/comments|/projects/42/merge_requests/7/notes)/(\d+)")


class Comments:
    """The comments of one request, by number.

    Attributes:
        bodies: their texts.
        strangers: numbers of those that another account than that of the token has written.
    """

    def __init__(self) -> None:
        self.bodies: dict[int, str] = {}
        self.strangers: set[int] = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"comments": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    @contextmanager
    def running(self) -> Iterator["Comments"]:
        """Serves until the block ends."""
        with serving(self._http):
            yield self

    def page(self, query: str) -> list[dict[str, Any]]:
        """Returns the comments of the page that the URL's query names."""
        parameters = {name: int(values[0]) for name, values in parse_qs(query).items()}
        size = parameters.get("per_page", 30)
        start = (parameters.get("page", 1) - 1) * size
        found = list(self.bodies.items())[start : start + size]
        return [{"id": number, "body": body} | self._authors(number) for number, body in found]

    def _authors(self, number: int) -> dict[str, Any]:
        """Returns the author of a comment in the forms of GitHub and GitLab."""
        identifier, kind = (2, "User") if number in self.strangers else (1, "Bot")
        return {"user": {"id": identifier, "type": kind}, "author": {"id": identifier}}


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    comments: Comments

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self._is_authorised() and url.path in LISTS:
            self.answer(200, self.comments.page(url.query))
        elif self._is_authorised() and "PRIVATE-TOKEN" in self.headers and url.path == "/user":
            self.answer(200, {"id": 1})
        else:
            self._refuse()

    def do_POST(self) -> None:
        if self._is_authorised() and self.path in LISTS:
            number = len(self.comments.bodies) + 1
            self.comments.bodies[number] = self._body()
            self.answer(201, {"id": number})
        else:
            self._refuse()

    def do_PATCH(self) -> None:
        self._update("/repos/")

    def do_PUT(self) -> None:
        self._update("/projects/")

    def _update(self, service: str) -> None:
        item = ITEM.fullmatch(self.path)
        if self._is_authorised() and item and item[1].startswith(service) and int(item[2]) in self.comments.bodies:
            self.comments.bodies[int(item[2])] = self._body()
            self.answer(200, {"id": int(item[2])})
        else:
            self._refuse()

    def _is_authorised(self) -> bool:
        token = self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        return token == TOKEN

    def _refuse(self) -> None:
        self.answer(404 if self._is_authorised() else 403, {"message": "Resource not accessible by integration"})

    def _body(self) -> str:
        return str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])
