"""Bounds every byte and every second of an HTTP exchange: redirects, headers, framing and body.

The timeouts of httpx count one read, so that a server which sends single bytes can go on for ever. And httpx yields the
body alone: chunk extensions, trailers and informational responses never reach the caller.
"""

import functools
import ipaddress
import time
from collections.abc import Callable
from typing import Any

import httpx

from stages.base.errors import SourceUnavailable

MIN_BYTES_PER_S = 1_000  # of the body, in each window of the read timeout
MAX_OVERHEAD = 1 << 20  # bytes that are not body, in addition to as many as the body has
UNICAST = ipaddress.IPv6Network("2000::/3")  # Python counts others as global too, such as 64:ff9b:1::/48 and fec0::/10
# IPv6 addresses whose last 32 bits are an IPv4 address: compatible, mapped, translated, and of NAT64
EMBEDDING = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
CONNECTED, ENCRYPTED = ("connection.connect_tcp", ".start_tls")  # names of httpcore's trace


class TransientError(SourceUnavailable):
    """One attempt failed, and the next one may succeed. `wait_s` is the wait that the server requests."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s
        super().__init__(reason)


class Exchange:
    """The requests of one attempt, which follow each other by redirects. Its `trace` observes their connections.

    Attributes:
        body_bytes: received bytes of the body; the user of the response counts them.
    """

    def __init__(self, read_timeout_s: float) -> None:
        self.body_bytes = 0
        self._timeout_s, self._received = read_timeout_s, 0
        self._url, self._host = httpx.URL(), ""
        self._is_redirect, self._starts_public = False, True
        self._in_body = False
        self._start_window()

    def open(self, url: httpx.URL) -> None:
        """Begins a request to `url`: the first one, or one that follows a redirect.

        Raises:
            SourceUnavailable: a redirect leads from a public address to one that is not public.
        """
        self._is_redirect, self._url, self._in_body = bool(self._url.host), url, False
        self._check_address(url.host)

    def start_body(self) -> None:
        """The head of the last response is complete, and its body follows."""
        self._in_body = True
        self._start_window()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Observes httpcore's events, as its extension `trace`: each read of a connection is checked from then on."""
        if event == f"{CONNECTED}.started":
            self._host = info["host"]
        elif event.endswith((f"{CONNECTED}.complete", f"{ENCRYPTED}.complete")):
            stream = info["return_value"]
            if event.startswith(CONNECTED) and self._host == self._url.raw_host.decode("ascii"):  # not a proxy
                try:
                    self._check_address(stream.get_extra_info("server_addr")[0])
                except SourceUnavailable:
                    stream.close()  # httpcore does not, after an error of its trace
                    raise
            stream.read = functools.partial(self._read, stream.read)
            self._start_window()  # of the head; connections and encryption have the time limit of httpx

    def _start_window(self) -> None:
        self._window = time.monotonic(), self.body_bytes

    def _read(self, read: Callable[..., bytes], max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads from a connection, and checks the time before and the number of bytes after it."""
        began, size = self._window
        remaining_s = began + self._timeout_s - time.monotonic()
        if remaining_s <= 0:
            if not self._in_body:
                raise TransientError("timed out")
            if self.body_bytes - size < MIN_BYTES_PER_S * self._timeout_s:
                raise TransientError(f"sent fewer than {MIN_BYTES_PER_S:,} bytes a second")
            self._start_window()
            remaining_s = self._timeout_s
        data = read(max_bytes, self._timeout_s if self._in_body else remaining_s)
        self._received += len(data)
        if self._received > MAX_OVERHEAD + 2 * self.body_bytes:
            raise SourceUnavailable(f"sent {self._received:,} bytes, of which {self.body_bytes:,} belong to the file")
        return data

    def _check_address(self, host: str) -> None:
        """Refuses a host on this machine or in a private network, after a redirect from a public one.

        Raises:
            SourceUnavailable: it is one.
        """
        if not self._is_redirect:
            self._starts_public = self._starts_public and _is_public(host)
        elif self._starts_public and not _is_public(host):
            raise SourceUnavailable(f"redirects from a public address to {host}, which is not public")


def _is_public(host: str) -> bool:
    """Returns False for the name of this machine and for an address that is not global; True for any other name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.rstrip(".").rpartition(".")[2].lower() != "localhost"
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is None:
            return address in UNICAST and address.is_global
        address = embedded
    return address.is_global and not address.is_multicast


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Returns the IPv4 address to which packets for `address` go after translation or through a tunnel, or None."""
    if any(address in network for network in EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour
