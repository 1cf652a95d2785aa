"""Clients of an HTTP server that ask again as soon as they are answered, all in one thread: they cost little."""

import selectors
import socket
import time
from dataclasses import dataclass, field

TIMEOUT_S = 300.0


@dataclass
class Load:
    """What clients saw: seconds in all, and of each request; the last answer's body. The server's processor seconds."""

    seconds: float = 0.0
    processor_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    body: bytes = b""


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Returns a POST request in bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask(port: int, request: bytes, clients: int, requests: int) -> Load:
    """Sends `requests` requests in all, from as many connections as there are `clients`.

    Raises:
        RuntimeError: an answer has another status than 200, or none comes.
    """
    load, left = Load(), requests
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for _ in range(min(clients, requests)):
            connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = _Client(connection)
            client.send(request)
            left -= 1
            selector.register(connection, selectors.EVENT_READ, client)
        while selector.get_map():
            ready = selector.select(TIMEOUT_S)
            if not ready:
                raise RuntimeError(f"no answer from port {port} within {TIMEOUT_S:g} s")
            for key, _ in ready:
                client = key.data
                body = client.receive()
                if body is None:
                    continue
                load.latencies.append(time.perf_counter() - client.sent)
                load.body = body
                if left:
                    client.send(request)
                    left -= 1
                else:
                    selector.unregister(client.connection)
                    client.connection.close()
        load.seconds = time.perf_counter() - started
    return load


class _Client:
    """One connection with one request at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.sent, self._received = connection, 0.0, b""

    def send(self, request: bytes) -> None:
        """Sends a request as a whole: the server reads while it arrives."""
        self.sent, self._received = time.perf_counter(), b""
        self.connection.sendall(request)

    def receive(self) -> bytes | None:
        """Returns the body of the answer once it is here as a whole."""
        if not (part := self.connection.recv(1 << 20)):
            raise RuntimeError(f"the server closed a connection: {self._received[:300]!r}")
        self._received += part
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return None
        lines = head.lower().split(b"\r\n")
        if b" 200 " not in lines[0] + b" ":
            raise RuntimeError(f"answered with {self._received[:300]!r}")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        return body if len(body) >= length else None
