"""A real HTTP server on loopback with configurable responses and errors, one for each request."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.loopback import serving

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """The server and its received requests.

    Each request consumes one of `behaviours`; the last one is used for all further requests.
    """

    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = [status(404)]
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def respond_with(self, *behaviours: Behaviour) -> None:
        """Sets the behaviours of the next requests."""
        self.behaviours = list(behaviours)

    def next(self, request: BaseHTTPRequestHandler) -> Behaviour:
        """Records the request and returns its behaviour."""
        with self._lock:
            self.paths.append(request.path)
            self.headers.append(dict(request.headers.items()))
            return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Serves until the end of the block."""
        with serving(self._http):
            try:
                yield self
            finally:
                self.released.set()

    def stall(self, content: bytes, after: int) -> Behaviour:
        """Announces all of `content`, sends `after` bytes, then nothing, and keeps the connection open."""

        def behave(request: BaseHTTPRequestHandler) -> None:
            _head(request, 200, {"Content-Length": str(len(content))})
            request.wfile.write(content[:after])
            self.released.wait(240)

        return behave

    def repeat(self, start: bytes, repeated: bytes, pause_s: float = 0.0) -> Behaviour:
        """Sends `start`, then `repeated` until the client closes the connection or the test ends."""

        def behave(request: BaseHTTPRequestHandler) -> None:
            request.close_connection = True
            request.wfile.write(start)
            while not self.released.wait(pause_s):
                request.wfile.write(repeated)

        return behave

    def trickle(self, content: bytes, pause_s: float) -> Behaviour:
        """Sends one byte at a time."""

        def behave(request: BaseHTTPRequestHandler) -> None:
            _head(request, 200, {"Content-Length": str(len(content))})
            for byte in content:
                request.wfile.write(bytes([byte]))
                if self.released.wait(pause_s):
                    return

        return behave


def serve(content: bytes, etag: str = '"one"', *, ranges: bool = True, length: bool = True) -> Behaviour:
    """Sends `content` or the requested range; without `ranges` always all of it."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        start = _requested_start(request, etag) if ranges else 0
        headers = {"ETag": etag} if etag else {}
        if length:
            headers["Content-Length"] = str(len(content) - start)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        _head(request, 206 if start else 200, headers)
        request.wfile.write(content[start:])

    return behave


def capped(content: bytes, largest: int, etag: str = '"one"', total: str | None = None) -> Behaviour:
    """Sends at most `largest` bytes of the requested range, as RFC 9110 allows, and the `total` in its header."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        start = _requested_start(request, etag)
        piece = content[start : start + largest]
        content_range = f"bytes {start}-{start + len(piece) - 1}/{total or len(content)}"
        _head(request, 206, {"Content-Length": str(len(piece)), "ETag": etag, "Content-Range": content_range})
        request.wfile.write(piece)

    return behave


def truncate(content: bytes, after: int, etag: str = '"one"') -> Behaviour:
    """Announces all of `content`, sends `after` bytes, and closes the connection."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        _head(request, 200, {"Content-Length": str(len(content)), "ETag": etag})
        request.wfile.write(content[:after])

    return behave


def wrong_range(content: bytes, etag: str, start: int) -> Behaviour:
    """Sends the range from `start` on as 206, whatever the request."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        piece = content[start:]
        content_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
        _head(request, 206, {"Content-Length": str(len(piece)), "ETag": etag, "Content-Range": content_range})
        request.wfile.write(piece)

    return behave


def status(code: int, **headers: str) -> Behaviour:
    """Answers with a status; header names have _ instead of -."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        _head(request, code, {"Content-Length": "0"} | named)

    return behave


def raw(content: bytes) -> Behaviour:
    """Sends these bytes, whatever they are, and closes the connection."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.wfile.write(content)

    return behave


def text(code: int, body: bytes) -> Behaviour:
    """Answers with a status and a body."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        _head(request, code, {"Content-Length": str(len(body))})
        request.wfile.write(body)

    return behave


def delayed(behaviour: Behaviour, pause_s: float) -> Behaviour:
    """Runs `behaviour` after a pause."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        time.sleep(pause_s)
        behaviour(request)

    return behave


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Closes the connection without an answer."""
    request.close_connection = True


def _requested_start(request: BaseHTTPRequestHandler, etag: str) -> int:
    piece = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range", etag)
    return int(piece[1]) if piece and condition == etag else 0


def _head(request: BaseHTTPRequestHandler, code: int, headers: dict[str, str]) -> None:
    request.close_connection = True
    request.send_response(code)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # some tests make the client close the connection
                server.next(self)(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))  # else closing would reset the connection
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Writes no log."""

    return Handler
