"""The gate of the server: limits of a request, its host and origin, and the token; counts every request."""

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.serve.metrics import Metrics
from stages.serve.settings import Settings

HEALTH_PATHS = ("/v2/health/live", "/v2/health/ready")  # under every name: Kubernetes asks the address of the pod
OPEN_PATHS = ("/", "/page.css", "/page.js", *HEALTH_PATHS)  # need no token
DRAIN_S = 2.0
BODIES = 8  # of the largest size that may arrive at once
OTHER = "other"  # the path of requests that no route takes, in the metrics

SECURITY_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Refuses requests that are too large, too slow, for another host, from another origin or without the token."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, known: Callable[[Scope], str | None]
    ) -> None:
        """Creates the gate.

        Args:
            app: the application behind it.
            settings: the limits.
            metrics: counts the requests.
            known: the route's path of a request, such as /v2/models/{name}; None if no route takes it.
        """
        self._app, self._settings, self._metrics, self._known = app, settings, metrics, known
        self._held = 0  # bytes of bodies that arrive at this moment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn, which has the request's own method, leaves the body out
        started, status = time.perf_counter(), [0]

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message["headers"] = [*message["headers"], *SECURITY_HEADERS]
            await send(message)

        body = self._refusal(scope) or await self._body(scope, receive)
        try:
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), send_and_note)
            else:
                if body[0] == 413 and not _waits(scope):
                    await self._drain(receive)
                await _refuse(*body, send_and_note)
        finally:
            self._metrics.request(self._known(scope) or OTHER, status[0] or 500, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, settings = Headers(scope=scope), self._settings
        host, origin = headers.get("host", ""), headers.get("origin")
        is_known = not settings.hosts or _host_name(host) in settings.hosts
        if not is_known and scope["path"] not in HEALTH_PATHS:
            return 421, "this server is not used under this name; name it with --host-name where the server starts"
        page = None if origin is None else origin.partition("://")[2]
        # A proxy may send its own name for Host: its pages are known by the name that the server was given for it.
        if page is not None and page.lower() != host.lower() and _host_name(page) not in settings.origins:
            return 403, "pages of other origins are refused; name that of a proxy with --host-name"
        is_open = scope["path"] in OPEN_PATHS and scope["method"] == "GET"
        if settings.token and not is_open:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), settings.token.encode()):
                return 401, "expected the header `Authorization: Bearer TOKEN` with the server's token"
        if "content-length" in headers and "transfer-encoding" in headers:  # a proxy may end the request elsewhere
            return 400, "the request states two lengths, expected either Content-Length or Transfer-Encoding"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > settings.max_body:
            return 413, f"the body has {int(length):,} bytes, expected at most {settings.max_body:,}"
        return None

    async def _body(self, scope: Scope, receive: Receive) -> bytes | tuple[int, str]:
        """Reads the body of a request in its time and size; otherwise returns what to answer."""
        if scope["method"] == "GET":
            return b""
        chunks: list[bytes] = []
        size, limit = 0, self._settings.max_body
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return 400, "the client is gone"
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    self._held += len(chunk)
                    if size > limit:
                        return 413, f"the body has more than {limit:,} bytes"
                    if self._held > BODIES * limit:
                        return 503, "too many large requests arrive at once; send it again"
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            return 408, f"the body did not arrive within {self._settings.timeout_s:g} s"
        finally:
            self._held -= size

    async def _drain(self, receive: Receive) -> None:
        """Reads on for a while: a client that still sends would not see the answer before the connection closes."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while size <= self._settings.max_body:
                    message = await receive()
                    size += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return


def _waits(scope: Scope) -> bool:
    """Returns whether the client sends the body only after `100 Continue`, which a first read would give."""
    return Headers(scope=scope).get("expect", "").lower() == "100-continue"


def _replay(body: bytes, receive: Receive) -> Receive:
    """Returns a function that gives the body, which was read already, and then what the client does."""
    sent = False

    async def give() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


async def _refuse(status: int, reason: str, send: Send) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (400, 408, 413, 503):  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname  # in lower case
    except ValueError:
        return None
