"""A proxy between an orchestrator and its Prefect server that disturbs requests like a network or a busy server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.support.loopback import serving

CREATE = "/create_flow_run"


class FaultyProxy:
    """Forwards requests to a Prefect server, with the faults that a test switches on.

    Attributes:
        create_count: number of requests so far to create a flow run.
        drop_first_creation: drop the response to the first of these requests.
        first_creation_status: answer the first of these requests with this status, without forwarding it.
        is_open: while cleared, connections are cut; if `held_path` is set, only requests for it wait.
        held_path: end of the path of the requests that wait while `is_open` is cleared.
        held_count: number of requests that have waited.
    """

    def __init__(self, server: str) -> None:
        self.create_count = 0
        self.drop_first_creation = False
        self.first_creation_status: int | None = None
        self.is_open = threading.Event()
        self.is_open.set()
        self.held_path: str | None = None
        self.held_count = 0
        self._server = server
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"

    @contextmanager
    def running(self) -> Iterator["FaultyProxy"]:
        """Serve until the block ends."""
        with serving(self._http):
            yield self

    def answer(self, request: BaseHTTPRequestHandler) -> httpx.Response | None:
        """Return the server's response; None if the connection is to be cut."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        creates = request.path.endswith(CREATE)
        self.create_count += creates
        if self.held_path and request.path.endswith(self.held_path) and not self.is_open.is_set():
            self.held_count += 1
            self.is_open.wait()
        if not self.held_path and not self.is_open.is_set():
            return None
        is_first_creation = creates and self.create_count == 1
        if is_first_creation and self.first_creation_status:
            return httpx.Response(self.first_creation_status, json={"detail": "a fault"})
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        target = f"{self._server}{request.path.removeprefix('/api')}"
        response = httpx.request(request.command, target, content=body, headers=headers, timeout=240)
        return None if is_first_creation and self.drop_first_creation else response

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                response = proxy.answer(self)
                if response is None:
                    self.close_connection = True
                    return
                self.send_response(response.status_code)
                self.send_header("Content-Type", response.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(response.content)))
                self.end_headers()
                self.wfile.write(response.content)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        return Handler
