"""The download stage with unreliable servers, which fail, stall, truncate or change the file."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.download.http_download import MAX_RANGES
from tests.conftest import wait_until
from tests.support.download_project import IMPATIENT, INVALID, UNAVAILABLE, RunFailing, parts, run_download
from tests.support.http_server import Behaviour, Server, capped, delayed, hang_up, serve, status, truncate, wrong_range
from tests.support.tiny_data import write_params


@pytest.mark.parametrize(
    ("behaviour", "message", "requests"),
    [
        (status(404), "answered 404 Not Found", 1),
        (status(403), "answered 403 Forbidden", 1),
        (status(500), "answered 500 Internal Server Error", 3),
        (status(429), "answered 429 Too Many Requests", 3),
        (hang_up, "the connection failed", 3),
        (delayed(status(200), 1.5), "timed out", 3),
        (status(302, Location="/tiny.npz"), "cannot be requested (Exceeded maximum allowed redirects.)", 21),
        (status(302, Location="ftp://x/tiny.npz"), "cannot be requested", 1),
        (truncate(bytes(5_000), 100, etag=""), "the connection failed", 3),
        (wrong_range(bytes(5_000), '"one"', 7), "sent another range than requested", 3),
        (status(416), "answered 416", 3),
    ],
)
def test_bad_server_makes_a_source_unavailable(
    run_failing: RunFailing, server: Server, behaviour: Behaviour, message: str, requests: int
) -> None:
    """A transient error is retried twice, a permanent error never; the message names the error of the server."""
    server.respond_with(behaviour)
    code, error = run_failing(*(IMPATIENT if message == "timed out" else ()))
    assert code == UNAVAILABLE
    assert message in error
    wait_until(lambda: len(server.paths) >= requests, timeout_s=60)  # it may read the last one later
    assert len(server.paths) == requests


def test_closed_port(run_failing: RunFailing, project: Path) -> None:
    """A closed port makes the source unavailable."""
    write_params(project, "http://127.0.0.1:9/tiny.npz")
    code, error = run_failing()
    assert (code, "the connection failed" in error) == (UNAVAILABLE, True)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "https://127.0.0.1:99999/x"])
def test_invalid_mirror_address_is_skipped(run_failing: RunFailing, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """An invalid address makes the mirror unavailable, without a traceback."""
    monkeypatch.setenv("INKFLOW_MIRROR", url)
    assert run_failing()[0] == UNAVAILABLE


def test_invalid_proxy_settings(run_failing: RunFailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables are used, and an invalid one is named in the message."""
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "unknown-scheme://proxy")
    code, error = run_failing()
    assert (code, "network settings cannot be used" in error) == (UNAVAILABLE, True)


def test_the_next_source_is_tried_beside_an_invalid_proxy(
    project: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a usable proxy no address is asked, and Keras's cache still is."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:s3cr/et@proxy:3128")
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "datasets" / "tiny.npz").write_bytes(content)
    run_download()


def test_stalled_connection_ends_in_seconds(run_failing: RunFailing, server: Server, content: bytes) -> None:
    """A server that stops in the middle of the body costs only three timeouts."""
    server.respond_with(server.stall(content, 100))
    code, error = run_failing(*IMPATIENT)
    wait_until(lambda: len(server.paths) >= 3, timeout_s=60)
    assert (code, "timed out" in error, len(server.paths)) == (UNAVAILABLE, True, 3)


def test_slow_transfer_counts_as_stalled(run_failing: RunFailing, server: Server, content: bytes) -> None:
    """A server that sends single bytes does not prevent a timeout."""
    server.respond_with(server.trickle(content, 0.05))
    code, error = run_failing(*IMPATIENT)
    assert (code, "fewer than 1,000 bytes a second" in error) == (UNAVAILABLE, True)


def test_two_errors_are_retried(project: Path, server: Server, content: bytes) -> None:
    """The stage succeeds after two server errors."""
    server.respond_with(status(500), status(503, Retry_After="1"), serve(content))
    run_download()
    assert len(server.paths) == 3


def test_retry_after_is_respected(project: Path, server: Server, content: bytes) -> None:
    """The stage waits as long as the server requests."""
    server.respond_with(status(429, Retry_After="2"), serve(content))
    begin = time.monotonic()
    run_download()
    assert time.monotonic() - begin >= 2


def test_redirect_is_followed(project: Path, server: Server, content: bytes) -> None:
    """A redirect to another path is followed."""
    server.respond_with(status(302, Location="/elsewhere"), serve(content))
    run_download()
    assert server.paths == ["/tiny.npz", "/elsewhere"]


def test_truncated_body_is_resumed(project: Path, server: Server, content: bytes) -> None:
    """After a truncated body, only the rest of an unchanged file is requested."""
    server.respond_with(truncate(content, 1_000), serve(content))
    run_download()
    assert server.headers[1]["Range"] == "bytes=1000-"
    assert server.headers[1]["If-Range"] == '"one"'


def test_ranges_that_are_shorter_than_requested(project: Path, server: Server, content: bytes) -> None:
    """A server may send a part of the rest: the next part is requested, also after more parts than attempts."""
    server.respond_with(truncate(content, 100), capped(content, len(content) // 8))
    run_download()
    assert len(server.paths) == 9
    assert all("Range" in headers for headers in server.headers[1:])


def test_endless_ranges(run_failing: RunFailing, server: Server, content: bytes) -> None:
    """A server that sends single bytes, or none, is given up after a number of requests."""
    server.respond_with(truncate(content, 100), capped(content, 1))
    code, error = run_failing()
    assert (code, f"sent 300 of {len(content):,} bytes" in error) == (UNAVAILABLE, True)
    assert len(server.paths) == 1 + 2 * MAX_RANGES
    server.respond_with(capped(content, 0))
    assert run_failing()[0] == UNAVAILABLE


@pytest.mark.parametrize("total", ["*", "200"])
def test_a_range_of_no_known_size_is_not_appended(project: Path, server: Server, content: bytes, total: str) -> None:
    """Without the right size of the file in its header, a range could be a part of the rest: all is sent again."""
    server.respond_with(truncate(content, 100), capped(content, 500, total=total), serve(content))
    run_download()
    assert len(server.paths) == 3
    assert "Range" not in server.headers[2]


def test_later_run_resumes(run_failing: RunFailing, project: Path, server: Server, content: bytes) -> None:
    """The next run does not request the bytes that a failed run has received."""
    server.respond_with(truncate(content, 1_000), status(404))
    assert run_failing()[0] == UNAVAILABLE
    assert parts()[0].stat().st_size == 1_000
    server.respond_with(serve(content))
    run_download()
    assert server.headers[-1]["Range"] == "bytes=1000-"
    assert parts() == []


@pytest.mark.parametrize("place", [0, 1], ids=["part", "version"])
@pytest.mark.parametrize(
    "put",
    [lambda path: path.symlink_to("../../../own"), lambda path: path.symlink_to("nowhere"), os.mkfifo],
    ids=["link", "broken link", "pipe"],
)
def test_nothing_but_files_is_resumed(
    run_failing: RunFailing, server: Server, content: bytes, tmp_path: Path, place: int, put: Callable[[Path], None]
) -> None:
    """A link or a pipe in place of a part file or its version is replaced; the file behind a link is not touched."""
    server.respond_with(truncate(content, 1_000), status(404))
    assert run_failing()[0] == UNAVAILABLE
    own = tmp_path / "own"
    own.write_text('"one"')
    path = parts()[place]
    path.unlink()
    put(path)
    server.respond_with(serve(content))
    run_download()
    assert "Range" not in server.headers[-1]
    assert own.read_text() == '"one"' and parts() == []


@pytest.mark.parametrize(
    ("etag", "ranges"),
    [('"one"', False), ('"two"', True), ('W/"weak"', False)],
    ids=["no ranges", "changed", "weak"],
)
def test_server_that_cannot_resume(project: Path, server: Server, content: bytes, etag: str, ranges: bool) -> None:
    """Without support for ranges, after a change, or with a weak ETag, the whole file is downloaded again."""
    server.respond_with(truncate(content, 1_000), serve(content, etag, ranges=ranges))
    run_download()
    assert len(server.paths) == 2


def test_range_of_another_file_is_not_appended(project: Path, server: Server, content: bytes) -> None:
    """A response 206 with another ETag makes the download start over."""
    server.respond_with(truncate(content, 1_000), wrong_range(content, '"two"', 1_000), serve(content))
    run_download()
    assert "Range" not in server.headers[2]


def test_without_etag_there_is_no_range(project: Path, server: Server, content: bytes) -> None:
    """Without an ETag, the whole file is requested again."""
    server.respond_with(truncate(content, 1_000, etag=""), serve(content, etag=""))
    run_download()
    assert "Range" not in server.headers[1]


@pytest.mark.parametrize("length", [True, False])
def test_size_limit_holds_while_streaming(run_failing: RunFailing, project: Path, server: Server, length: bool) -> None:
    """A file above max_bytes is rejected, with or without Content-Length, and its part file is removed."""
    write_params(project, f"{server.url}/tiny.npz", tiny={"max_bytes": 4_000})
    server.respond_with(serve(bytes(100_000), length=length))
    code, error = run_failing()
    assert code == INVALID
    assert "expected at most 4,000 (max_bytes)" in error
    assert parts() == []
