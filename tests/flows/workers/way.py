"""Between an orchestrator and its Prefect server: what a network or a busy server does to requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.support.loopback import serving

CREATE = "/create_flow_run"


class Way:
    """A way to the server that can be disturbed as a network or a busy server disturbs it."""

    def __init__(self, server: str) -> None:
        self.created = 0  # how often the creation of a run was asked for
        self.lose_first = False  # the answer to the first creation
        self.refuse_first: int | None = None  # the first creation, with this code
        self.open = threading.Event()  # while it is not set nothing comes through, or nothing of what it `holds`
        self.open.set()
        self.holds: str | None = None  # requests for this wait while it is closed; else their connections are cut
        self.held = 0  # how many have waited
        self._server = server
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"

    @contextmanager
    def running(self) -> Iterator["Way"]:
        """Serve as long as the block lasts."""
        with serving(self._http):
            yield self

    def answer(self, request: BaseHTTPRequestHandler) -> httpx.Response | None:
        """What the server says; None where no answer comes back."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        creates = request.path.endswith(CREATE)
        self.created += creates
        if self.holds and request.path.endswith(self.holds) and not self.open.is_set():
            self.held += 1
            self.open.wait()
        if not self.holds and not self.open.is_set():
            return None
        if creates and self.created == 1 and self.refuse_first:
            return httpx.Response(self.refuse_first, json={"detail": "a fault"})
        kept = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        target = f"{self._server}{request.path.removeprefix('/api')}"
        answer = httpx.request(request.command, target, content=body, headers=kept, timeout=60)
        return None if creates and self.created == 1 and self.lose_first else answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        way = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = way.answer(self)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        return Handler
