"""A server that lies to the downloader: lengths, redirects, encodings, headers, chunks, ranges, and slowness."""

import gzip
import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from stages.base.errors import InkflowError, SourceUnavailable
from stages.download import http_download
from stages.download.http_download import fetch
from tests.support.http_server import Behaviour, Server, raw, serve, status, truncate, wrong_range
from tests.torture.conftest import Rounds, Try
from tests.torture.support.bounded import Bounds, bounded
from tests.torture.support.watched import watched

SEED = 17
LIMIT = 300_000  # bytes of a file
TIMEOUT_S = 0.5
HONEST_S = 60.0  # for answers that have to be read, on a busy machine
MEMORY, READ = 20_000_000, 65_536  # bytes that a download may need in addition to its file; bytes of one `recv`
BOUNDS = Bounds(  # the factor of the time is a bound of hanging, on a busy machine
    memory=LIMIT + MEMORY,
    received=http_download.ATTEMPTS * (2 * LIMIT + (1 << 20) + 3 * READ),
    seconds=http_download.ATTEMPTS * TIMEOUT_S * 80,
)
CONTENT = bytes(range(256)) * 100
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
BOMB = gzip.compress(bytes(50_000_000))
PRIVATE = (
    "127.0.0.1", "localhost", "LOCALHOST.", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]",
    "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]",
    "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[::7f00:1]", "[::ffff:0:7f00:1]", "[64:ff9b:1::a00:1]",
    "[fec0::1]",
)  # fmt: skip

Lie = Callable[[Server], list[Behaviour]]


def answers(*contents: bytes) -> Lie:
    """Returns the behaviours of a server that sends these bytes."""
    return lambda _: [raw(content) for content in contents]


def redirect(location: str) -> Lie:
    """Returns the behaviours of a server that sends its clients away."""
    return lambda _: [status(302, Location=location)]


def endless(start: bytes, repeated: bytes, pause_s: float = 0.0) -> Lie:
    """Returns the behaviours of a server that does not come to an end."""
    return lambda server: [server.repeat(start, repeated, pause_s)]


LIES: dict[str, Lie] = {
    "a length that is too long": lambda _: [truncate(CONTENT, 1_000)],
    "no byte of what is announced": lambda _: [truncate(CONTENT, 0)],
    "a length of 10 PB": answers(HEAD + b"Content-Length: 10000000000000000\r\n\r\nabc"),
    "a length of 9,000 digits": answers(HEAD + b"Content-Length: " + b"9" * 9_000 + b"\r\n\r\nabc"),
    "a negative length": answers(HEAD + b"Content-Length: -1\r\n\r\nabc"),
    "a length in words": answers(HEAD + b"Content-Length: three\r\n\r\nabc"),
    "two lengths": answers(HEAD + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc"),
    "an endless body": endless(HEAD + b"\r\n", bytes(60_000)),
    "an endless body in chunks": endless(CHUNKED, b"ea60\r\n" + bytes(60_000) + b"\r\n"),
    "an endless line": endless(HEAD + b"X: ", b"a" * 60_000),
    "headers without end": endless(HEAD, b"X: a\r\n" * 5_000),
    "an endless status": endless(b"HTTP/1.1 200 ", b"a" * 60_000),
    "hints without end": endless(b"", b"HTTP/1.1 103 Early Hints\r\nX: a\r\n\r\n" * 1_000),
    "slow headers": endless(HEAD + b"X: ", b"a", 0.05),
    "a slow body": endless(HEAD + b"Content-Length: 9000\r\n\r\n", b"a", 0.05),
    "slow chunks": endless(CHUNKED, b"1\r\na\r\n", 0.05),
    "silence": lambda server: [server.stall(CONTENT, 100)],
    "a redirect to itself": redirect("/a"),
    "a ring of redirects": lambda _: [status(302, Location=f"/{number}") for number in range(60)],
    "a redirect to nowhere": redirect(""),
    "a redirect to a file": redirect(Path("/etc/hostname").as_uri()),
    "a redirect to a file of this host": redirect("file://localhost/etc/hostname"),
    "a redirect to FTP": redirect("ftp://127.0.0.1/a"),
    "a redirect to data": redirect("data:text/plain,abc"),
    "a redirect to a broken address": redirect("http://[::1"),
    "a redirect to a broken port": redirect("http://127.0.0.1:99999/a"),
    "a redirect with line ends": answers(b"HTTP/1.1 302 Found\r\nLocation: /a\rX: b\r\n\r\n"),
    "a negative chunk": answers(CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n"),
    "a chunk of 16 EB": answers(CHUNKED + b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    "a chunk of no size": answers(CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk that is cut": answers(CHUNKED + b"ff\r\nabc"),
    "no last chunk": answers(CHUNKED + b"3\r\nabc\r\n"),
    "a flood of extensions": endless(CHUNKED, b"1;" + b"a" * 60_000 + b"\r\na\r\n"),
    "a range that was not asked for": lambda _: [wrong_range(CONTENT, '"one"', 5_000)],
    "always another range": lambda _: [truncate(CONTENT, 1_000), wrong_range(CONTENT, '"one"', 5_000)],
    "a range that is never there": lambda _: [truncate(CONTENT, 1_000), status(416)],
    "no status": answers(b"\r\n\r\n"),
    "a status of no number": answers(b"HTTP/1.1 OK\r\n\r\nabc"),
    "another protocol": answers(b"SSH-2.0-OpenSSH_9\r\n"),
    "TLS": answers(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(100)),
    "nothing": answers(b""),
    "HTTP 0.9": answers(b"abc"),
    "a wait of a year": lambda _: [status(503, Retry_After="31536000")],
}  # fmt: skip
# Downloads that end well, with exactly these bytes.
HONEST: dict[str, tuple[Lie, bytes]] = {
    "a bomb of gzip is not unpacked": (
        answers(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB), BOMB
    ),
    "the rest of a file": (lambda _: [truncate(CONTENT, 1_000), serve(CONTENT)], CONTENT),
    "another file meanwhile": (lambda _: [truncate(bytes(9_000), 1_000, '"old"'), serve(CONTENT, '"new"')], CONTENT),
    "a part of another version": (
        lambda _: [truncate(bytes(9_000), 500, '"old"'), wrong_range(CONTENT, '"new"', 500), serve(CONTENT)], CONTENT
    ),
    "a validator that changes each time": (
        lambda _: [truncate(CONTENT, 1_000, '"1"'), truncate(CONTENT, 2_000, '"2"'), serve(CONTENT, '"3"')], CONTENT
    ),
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose lies come without pauses between the attempts."""
    monkeypatch.setattr(http_download, "BACKOFF", wait_none())
    monkeypatch.setattr(http_download, "MAX_WAIT_S", 0.0)
    with Server().running() as server:
        yield server


def download(server: Server, url: str, part: Path, timeout_s: float = TIMEOUT_S) -> bytes | None:
    """Returns the file at `url`; None if it is refused, which has to be in one sentence.

    Raises:
        AssertionError: it is refused in another way, more was written than may be, or it needed more than BOUNDS.
    """
    error: Exception | None = None
    with bounded(server, BOUNDS) as reads:
        try:
            fetch(url, part, LIMIT, timeout_s)
        except Exception as found:  # noqa: BLE001 - which of them are right is what is tried
            error = found
    if error is None:
        assert sum(reads) > 0, "its reads were not counted: it reads in another way"
        return part.read_bytes()
    text = str(error)
    if not isinstance(error, InkflowError):
        raise AssertionError(f"{type(error).__name__}: {text}") from error
    assert 0 < len(text) <= 500 and "\n" not in text, text[:600]
    assert not part.exists() or part.stat().st_size <= LIMIT
    return None


def announced(answer: bytes) -> bytes | None:
    """Returns the body that an answer announces, or all that follows its head; None if it ends before its length."""
    end = re.search(rb"\n\r?\n", answer)
    if not end:
        return None
    body, length = answer[end.end() :], LENGTH.search(answer[: end.end()])
    size = int(length[1]) if length else len(body)
    return body[:size] if size <= len(body) else None


@pytest.mark.timeout(900)
def test_a_server_that_lies(promise: Try, rounds: Rounds, server: Server, tmp_path: Path) -> None:
    """Each lie is refused in one sentence, after a bounded number of bytes and seconds; good files arrive whole."""
    draws, good = random.Random(SEED), HEAD + b"Content-Length: %d\r\nETag: 'a'\r\n\r\n" % len(CONTENT) + CONTENT
    with promise(
        "Hostile input",
        "A server that lies is refused in one sentence, within bounds of memory, bytes and time; nothing beyond "
        "max_bytes is kept.",
        f"{len(LIES)} lies (lengths, redirects, chunks, slowness, floods), {len(HONEST)} resumptions; at most "
        f"{MEMORY // 10**6} MB of memory beyond max_bytes, 2 * max_bytes + 1.2 MB read in an attempt, no hanging",
    ) as tried:
        accepted = 0
        for name, lie in draws.sample(list(LIES.items()), rounds(8, len(LIES))):
            server.respond_with(*lie(server))
            with tried.attempt(name):
                assert download(server, f"{server.url}/a", tmp_path / f"{name}.part") is None, "it was accepted"
        for name, (behaviours, content) in HONEST.items():
            server.respond_with(*behaviours(server))
            with tried.attempt(name):
                assert download(server, f"{server.url}/a", tmp_path / f"{name}.part", HONEST_S) == content
        with tried.attempt("TLS is missing"):
            server.respond_with(serve(CONTENT))
            assert download(server, server.url.replace("http:", "https:"), tmp_path / "tls.part") is None
        for number in range(rounds(4, 400)):
            damaged = bytearray(good)
            for _ in range(draws.randint(1, 8)):
                damaged[draws.randrange(60)] = draws.randrange(256)
            server.respond_with(raw(bytes(damaged)))
            with tried.attempt(f"damaged answer {number} of seed {SEED}: {bytes(damaged[:80])!r}"):
                found = download(server, f"{server.url}/a", tmp_path / f"{number}.part")
                assert found is None or found == announced(bytes(damaged)), "it is not what the answer announces"
                accepted += found is not None
        tried.how += f"; {accepted} of {number + 1} damaged answers are accepted, with the bytes that they announce"


def test_redirects_into_private_networks(
    promise: Try, rounds: Rounds, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public server, here behind a proxy, cannot make the downloader ask a service of this machine or its network."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,127.1,2130706433,0x7f000001,localhost,::1")
    with (
        ExitStack() as watches,
        Server().running() as service,
        promise(
            "Hostile input",
            "A redirect from a public address to this machine, its network, or a file is not followed.",
            f"{len(PRIVATE)} forms of private addresses, at once and after a public hop, and 2 of files",
        ) as tried,
    ):
        service.respond_with(serve(CONTENT))
        port = service.url.rpartition(":")[2]
        secret = tmp_path / "secret"
        secret.write_bytes(CONTENT)
        watch = watches.enter_context(watched(secret))
        hosts = random.Random(SEED).sample(PRIVATE, rounds(6, len(PRIVATE)))
        places = [f"http://{host}:{port}/a" for host in hosts] + [f"file://{secret}", f"file://localhost{secret}"]
        for place in places:
            for hops in ([], [status(302, Location="http://files.example/b")]):
                server.respond_with(*hops, status(302, Location=place))
                with tried.attempt(f"{place} after {len(hops)} public hops"):
                    assert download(server, "http://data.example/a", tmp_path / "a.part", HONEST_S) is None
                    assert len(server.paths) == len(hops) + 1 and service.paths == []
                    assert not watch.was_opened()
                server.paths.clear()
                service.paths.clear()


def test_a_public_name_of_a_private_address(
    promise: Try, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect to a name that looks public, but whose address is of this machine, sends no request to it."""
    resolve = socket.getaddrinfo
    names: list[object] = []

    def resolved(host: object, *arguments: Any, **options: Any) -> Any:
        names.append(host)
        is_inner = host in ("inner.example", b"inner.example")
        return resolve("127.0.0.1" if is_inner else host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,inner.example")
    with (
        Server().running() as service,
        promise(
            "Hostile input",
            "A redirect from a public address to a public name whose address is of this machine gets no request.",
            "a name that the resolver gives 127.0.0.1, at once and after a public hop",
        ) as tried,
    ):
        service.respond_with(serve(CONTENT))
        place = f"http://inner.example:{service.url.rpartition(':')[2]}/a"
        assert download(server, place, tmp_path / "own.part", HONEST_S) == CONTENT  # who names it may ask it
        for hops in ([], [status(302, Location="http://files.example/b")]):
            server.respond_with(*hops, status(302, Location=place))
            for seen in (server.paths, service.paths, names):
                seen.clear()
            with tried.attempt(f"{len(hops)} public hops"):
                with pytest.raises(SourceUnavailable, match=r"to 127\.0\.0\.1, which is not public"):
                    fetch("http://data.example/a", tmp_path / "a.part", LIMIT, HONEST_S)
                assert (len(server.paths), service.paths) == (len(hops) + 1, [])
                assert {"inner.example", b"inner.example"} & set(names)
