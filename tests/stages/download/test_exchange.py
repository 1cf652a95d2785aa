"""The download stage counts every byte and second of an exchange, and follows no redirect into a private network."""

from pathlib import Path

import pytest

from tests.support.download_project import IMPATIENT, UNAVAILABLE, RunFailing, run_download
from tests.support.http_server import Server, serve, status, truncate
from tests.support.tiny_data import write_params

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("start", "repeated", "pause_s", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a", 0.05, "timed out"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05, "timed out"),
        (CHUNKED + b"1;", b"a", 0.05, "fewer than 1,000 bytes a second"),
        (CHUNKED + b"1\r\na\r\n0\r\nX: ", b"a", 0.05, "fewer than 1,000 bytes a second"),
        (CHUNKED, b"1;" + b"a" * 60_000 + b"\r\na\r\n", 0, "belong to the file"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nX: " + b"a" * 60_000 + b"\r\n\r\n", 0, "belong to the file"),
    ],
    ids=["header", "100-continue", "chunk extension", "trailer", "large extensions", "large hints"],
)
def test_bytes_around_the_body_are_bounded(
    run_failing: RunFailing, server: Server, start: bytes, repeated: bytes, pause_s: float, message: str
) -> None:
    """Headers, informational responses, chunk extensions and trailers are bounded in time and size."""
    server.respond_with(server.repeat(start, repeated, pause_s))
    code, error = run_failing(*(IMPATIENT if pause_s else ()))
    assert (code, message in error) == (UNAVAILABLE, True), error


@pytest.mark.parametrize("encoding", [b"identity", b"gzip"])
def test_body_of_a_redirect_is_not_read(project: Path, server: Server, content: bytes, encoding: bytes) -> None:
    """The endless body of a redirect is neither read nor unpacked."""
    head = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Encoding: " + encoding + b"\r\n\r\n"
    server.respond_with(server.repeat(head, bytes(60_000), 0), serve(content))
    run_download()
    assert server.paths == ["/tiny.npz", "/elsewhere"]


@pytest.mark.parametrize("etag", ['"é"', '"\udcff"', '"' + "a" * 5_000 + '"'])
def test_validator_that_no_request_can_hold(project: Path, server: Server, content: bytes, etag: str) -> None:
    """An ETag that is not ASCII or too long makes the next attempt start over."""
    name = etag.encode("latin-1", errors="surrogateescape").decode("latin-1")
    server.respond_with(truncate(content, 1_000, etag=name), serve(content))
    run_download()
    assert [("Range" in headers) for headers in server.headers] == [False, False]


def test_number_of_thousands_of_digits(run_failing: RunFailing, server: Server, content: bytes) -> None:
    """A Content-Range of thousands of digits is another range than requested."""
    huge = status(206, Content_Range=f"bytes {'9' * 9_000}-/*")
    server.respond_with(truncate(content, 1_000), huge)
    code, error = run_failing()
    assert (code, "answered 206" in error or "another range" in error) == (UNAVAILABLE, True), error


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "0.0.0.0", "[fd00::1]", "[fe80::1]", "[2002:7f00:1::]",
        "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[::7f00:1]", "[::ffff:0:7f00:1]", "[64:ff9b:1::a00:1]", "[fec0::1]",
    ],
)  # fmt: skip
def test_redirect_from_a_public_to_a_private_address(
    run_failing: RunFailing, project: Path, server: Server, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A server on the internet, here behind a proxy, cannot redirect the download to this machine or its network."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,127.1,2130706433")
    write_params(project, "http://data.example/tiny.npz")
    server.respond_with(status(302, Location=f"http://{host}:{server.url.rpartition(':')[2]}/tiny.npz"))
    code, error = run_failing()
    assert (code, "redirects from a public address" in error) == (UNAVAILABLE, True), error
    assert server.paths == ["http://data.example/tiny.npz"]


def test_redirect_to_another_public_name(
    project: Path, server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect from one name to another one is followed."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    write_params(project, "http://data.example/tiny.npz")
    server.respond_with(status(302, Location="http://files.example/tiny.npz"), serve(content))
    run_download()
    assert server.paths == ["http://data.example/tiny.npz", "http://files.example/tiny.npz"]


@pytest.mark.parametrize("host", ["files.example", "8.8.8.8", "[2001:4860:4860::8888]", "[64:ff9b::808:808]"])
def test_redirect_to_another_public_address(
    project: Path, server: Server, content: bytes, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect from a public address to another one, through NAT64 too, is followed."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    write_params(project, "http://data.example/tiny.npz")
    server.respond_with(status(302, Location=f"http://{host}/tiny.npz"), serve(content))
    run_download()
    asked = f"http://{host.strip('[]')}/tiny.npz"  # httpcore leaves the brackets out in what it asks a proxy for
    assert [path.replace("[", "").replace("]", "") for path in server.paths] == ["http://data.example/tiny.npz", asked]
