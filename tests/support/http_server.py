"""A real HTTP server on loopback that misbehaves as it is told, one behaviour a request."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.loopback import serving

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """What the server was told, and what it was asked.

    `behaviours` are used up one a request; the last one stays.
    """

    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = [status(404)]
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def told(self, *behaviours: Behaviour) -> None:
        """From now on behave like this."""
        self.behaviours = list(behaviours)

    def next(self, request: BaseHTTPRequestHandler) -> Behaviour:
        """Note the request; how to behave to it."""
        with self._lock:
            self.paths.append(request.path)
            self.headers.append(dict(request.headers.items()))
            return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Serve as long as the block lasts."""
        with serving(self._http):
            try:
                yield self
            finally:
                self.released.set()

    def stall(self, content: bytes, after: int) -> Behaviour:
        """Promise all of `content`, send `after` bytes, then nothing, and keep the line open."""

        def behave(request: BaseHTTPRequestHandler) -> None:
            _head(request, 200, {"Content-Length": str(len(content))})
            request.wfile.write(content[:after])
            self.released.wait(30)

        return behave

    def trickle(self, content: bytes, pause_s: float) -> Behaviour:
        """Send one byte at a time."""

        def behave(request: BaseHTTPRequestHandler) -> None:
            _head(request, 200, {"Content-Length": str(len(content))})
            for byte in content:
                request.wfile.write(bytes([byte]))
                if self.released.wait(pause_s):
                    return

        return behave


def serve(content: bytes, etag: str = '"one"', *, ranges: bool = True, length: bool = True) -> Behaviour:
    """Send `content`, or the piece asked for; without `ranges` always all of it."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        start = _asked(request, etag) if ranges else 0
        headers = {"ETag": etag} if etag else {}
        if length:
            headers["Content-Length"] = str(len(content) - start)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        _head(request, 206 if start else 200, headers)
        request.wfile.write(content[start:])

    return behave


def truncate(content: bytes, after: int, etag: str = '"one"') -> Behaviour:
    """Promise all of `content`, send `after` bytes, close the connection."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        _head(request, 200, {"Content-Length": str(len(content)), "ETag": etag})
        request.wfile.write(content[:after])

    return behave


def wrong_piece(content: bytes, etag: str, start: int) -> Behaviour:
    """Send the piece from `start` on as 206, whatever was asked for, under whatever condition."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        piece = content[start:]
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        _head(request, 206, {"Content-Length": str(len(piece)), "ETag": etag, "Content-Range": where})
        request.wfile.write(piece)

    return behave


def status(code: int, **headers: str) -> Behaviour:
    """Answer with this status; header names with _ for -."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        _head(request, code, {"Content-Length": "0"} | named)

    return behave


def slowly(behaviour: Behaviour, pause_s: float) -> Behaviour:
    """Behave like that after a pause."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        time.sleep(pause_s)
        behaviour(request)

    return behave


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    request.close_connection = True


def _asked(request: BaseHTTPRequestHandler, etag: str) -> int:
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
            with suppress(ConnectionError):  # a client that gives up is what some tests are about
                server.next(self)(self)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    return Handler
