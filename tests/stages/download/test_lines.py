"""The download stage on bad lines: servers that fail, stall, break off, or change the file."""

import time
from pathlib import Path

import pytest

from tests.support.download_project import (
    INVALID,
    UNAVAILABLE,
    Refusal,
    outputs,
    parts,
)
from tests.support.http_server import (
    Behaviour,
    Server,
    hang_up,
    serve,
    slowly,
    status,
    truncate,
    wrong_piece,
)
from tests.support.tiny_data import write_params


@pytest.mark.parametrize(
    ("behaviour", "words", "asked"),
    [
        (status(404), "answered 404 Not Found", 1),
        (status(403), "answered 403 Forbidden", 1),
        (status(500), "answered 500 Internal Server Error", 3),
        (status(429), "answered 429 Too Many Requests", 3),
        (hang_up, "the connection failed", 3),
        (slowly(status(200), 1.5), "timed out", 3),
        (status(302, Location="/tiny.npz"), "cannot be asked (Exceeded maximum allowed redirects.)", 21),
        (status(302, Location="ftp://x/tiny.npz"), "cannot be asked", 1),
        (truncate(bytes(5_000), 100, etag=""), "the connection failed", 3),
        (wrong_piece(bytes(5_000), '"one"', 7), "sent another piece than the one asked for", 3),
        (status(416), "answered 416", 3),
    ],
)
def test_bad_server_makes_a_source_unavailable(
    refused: Refusal, server: Server, behaviour: Behaviour, words: str, asked: int
) -> None:
    """What may pass is tried three times, what will not once; then one sentence says what the server did."""
    server.told(behaviour)
    code, sentence = refused()
    assert code == UNAVAILABLE
    assert words in sentence
    assert len(server.paths) == asked


def test_nobody_there(refused: Refusal, project: Path) -> None:
    """A port where nobody listens makes the source unavailable."""
    write_params(project, "http://127.0.0.1:9/tiny.npz")
    code, sentence = refused()
    assert (code, "the connection failed" in sentence) == (UNAVAILABLE, True)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "https://127.0.0.1:99999/x"])
def test_impossible_mirror_addresses_give_way(refused: Refusal, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """An address that is none makes the mirror unavailable; it is no crash."""
    monkeypatch.setenv("INKFLOW_MIRROR", url)
    assert refused()[0] == UNAVAILABLE


def test_broken_proxy_settings_are_named(refused: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables are heeded, so a wrong one is said."""
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "carrier-pigeon://loft")
    code, sentence = refused()
    assert (code, "network settings cannot be used" in sentence) == (UNAVAILABLE, True)


def test_stalled_connection_ends_in_seconds(refused: Refusal, server: Server, content: bytes) -> None:
    """A server that stops in the middle of the body costs three time-outs, not an afternoon."""
    server.told(server.stall(content, 100))
    begin = time.monotonic()
    code, sentence = refused()
    assert (code, "timed out" in sentence) == (UNAVAILABLE, True)
    assert time.monotonic() - begin < 10


def test_trickle_counts_as_stalled(refused: Refusal, server: Server, content: bytes) -> None:
    """A byte now and then keeps no time-out at bay."""
    server.told(server.trickle(content, 0.05))
    code, sentence = refused()
    assert (code, "fewer than 1,000 bytes a second" in sentence) == (UNAVAILABLE, True)


def test_two_failures_are_survived(project: Path, server: Server, content: bytes) -> None:
    """500 twice, then the file: the stage succeeds."""
    server.told(status(500), status(503, Retry_After="1"), serve(content))
    outputs()
    assert len(server.paths) == 3


def test_retry_after_is_heeded(project: Path, server: Server, content: bytes) -> None:
    """A server that asks for a second of peace gets it."""
    server.told(status(429, Retry_After="2"), serve(content))
    begin = time.monotonic()
    outputs()
    assert time.monotonic() - begin >= 2


def test_redirect_is_followed(project: Path, server: Server, content: bytes) -> None:
    """A file that moved is found."""
    server.told(status(302, Location="/elsewhere"), serve(content))
    outputs()
    assert server.paths == ["/tiny.npz", "/elsewhere"]


def test_truncated_body_is_resumed(project: Path, server: Server, content: bytes) -> None:
    """After a break only the rest is asked for, if the file is still the same."""
    server.told(truncate(content, 1_000), serve(content))
    outputs()
    assert server.headers[1]["Range"] == "bytes=1000-"
    assert server.headers[1]["If-Range"] == '"one"'


def test_later_run_resumes(refused: Refusal, project: Path, server: Server, content: bytes) -> None:
    """What arrived before the stage gave up is not fetched again by the next run."""
    server.told(truncate(content, 1_000), status(404))
    assert refused()[0] == UNAVAILABLE
    assert [path.stat().st_size for path in parts()] == [1_000, 5]
    server.told(serve(content))
    outputs()
    assert server.headers[-1]["Range"] == "bytes=1000-"
    assert parts() == []


@pytest.mark.parametrize(
    ("etag", "ranges"),
    [('"one"', False), ('"two"', True), ('W/"weak"', False)],
    ids=["no ranges", "changed", "weak"],
)
def test_server_that_cannot_resume(project: Path, server: Server, content: bytes, etag: str, ranges: bool) -> None:
    """Where the rest cannot be had alone, the whole file is taken anew."""
    server.told(truncate(content, 1_000), serve(content, etag, ranges=ranges))
    outputs()
    assert len(server.paths) == 2


def test_piece_of_another_file_is_not_joined(project: Path, server: Server, content: bytes) -> None:
    """A 206 with another ETag, or from another position, makes the download start over."""
    server.told(truncate(content, 1_000), wrong_piece(content, '"two"', 1_000), serve(content))
    outputs()
    assert "Range" not in server.headers[2]


def test_without_etag_there_is_no_range(project: Path, server: Server, content: bytes) -> None:
    """A file that cannot be told from its successor is fetched whole."""
    server.told(truncate(content, 1_000, etag=""), serve(content, etag=""))
    outputs()
    assert "Range" not in server.headers[1]


@pytest.mark.parametrize("length", [True, False])
def test_size_limit_holds_while_streaming(refused: Refusal, project: Path, server: Server, length: bool) -> None:
    """A file above max_bytes is refused, announced or not, and does not stay on the disk."""
    write_params(project, f"{server.url}/tiny.npz", tiny={"max_bytes": 4_000})
    server.told(serve(bytes(100_000), length=length))
    code, sentence = refused()
    assert code == INVALID
    assert "expected at most 4,000 (max_bytes)" in sentence
    assert parts() == []
