"""Requests in bytes, that HTTP clients refuse to send, and a client that asks all the time and notes mistakes."""

import re
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpx

WAIT_S = 240.0
PAUSE_S = 0.02  # of a healthy client: without it the client and the server fill two cores


def exchange(client: httpx.Client, parts: Iterable[bytes], pause_s: float = 0.0) -> bytes:
    """Sends `parts`, and returns what the server answers until it closes the connection, or has answered once.

    An answer ends the sending too; a connection that the server closes without an answer gives nothing.
    """
    received = b""
    with connect(client) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                connection.settimeout(max(pause_s, 0.001))
                try:
                    received = connection.recv(1 << 16)
                    break
                except TimeoutError:
                    connection.settimeout(WAIT_S)
            connection.settimeout(WAIT_S)
            while not is_whole(received) and (more := connection.recv(1 << 16)):
                received += more
        except (ConnectionError, BrokenPipeError):
            pass
    return received


def connect(client: httpx.Client) -> socket.socket:
    """Returns a connection to the server of `client`."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=WAIT_S)


def head(client: httpx.Client, line: str, *headers: str, host: str | None = None) -> bytes:
    """Returns the head of a request, `line` such as `POST /predict`."""
    host = host or f"{client.base_url.host}:{client.base_url.port}"
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")


def status(answer: bytes) -> int:
    """Returns the status of an answer; 0 for a connection that was closed without one."""
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found[1]) if found else 0


def is_whole(answer: bytes) -> bool:
    """Returns whether `answer` is a whole one."""
    top, separator, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", top)
    return bool(separator) and length is not None and len(body) >= int(length[1])


class HealthyClient:
    """Asks from a thread of its own until its block ends, and notes each answer that is not the right one.

    Attributes:
        asked: number of right and wrong answers.
        wrong: what went wrong.
        slowest_s: seconds of the slowest answer.
    """

    def __init__(self, client: httpx.Client, requests: list[tuple[str, dict[str, Any], str]]) -> None:
        """Creates it; `requests` are path, arguments of `httpx.Client.post`, and a text that the answer has."""
        self._url, self._requests = client.base_url, requests
        self._done, self._thread = threading.Event(), threading.Thread(target=self._ask)
        self.asked, self.slowest_s = 0, 0.0
        self.wrong: list[str] = []

    def __enter__(self) -> "HealthyClient":
        """Starts to ask."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=WAIT_S, trust_env=False) as client:
            while not self._done.is_set():
                path, arguments, expected = self._requests[self.asked % len(self._requests)]
                started = time.monotonic()
                try:
                    answer = client.post(path, **arguments)
                    if answer.status_code != 200 or expected not in answer.text:
                        self.wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.wrong.append(f"{path}: {error!r}")
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                self.asked += 1
                self._done.wait(PAUSE_S)
