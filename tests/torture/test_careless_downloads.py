"""Downloads without bounds, which the trials of downloads have to notice."""

from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from stages.base.errors import SourceUnavailable
from tests.support.http_server import Server
from tests.torture import test_hostile_http
from tests.torture.test_hostile_http import BOUNDS, HONEST, LIES, Lie, download, server

__all__ = ["server"]  # the fixture


def unpack(url: str, *_: object) -> None:
    """Unpacks what a server sends."""
    httpx.get(url)
    raise SourceUnavailable("a sentence")


def read_on(url: str, *_: object) -> None:
    """Reads far more than the file may have."""
    size = 0
    with httpx.stream("GET", url) as response:
        for piece in response.iter_raw():
            size += len(piece)
            if size > BOUNDS.received:
                raise SourceUnavailable("a sentence")


def wait(url: str, *_: object) -> None:
    """Waits as long as the server wants."""
    with suppress(httpx.HTTPError):
        httpx.get(url, timeout=None)
    raise SourceUnavailable("a sentence")


@pytest.mark.parametrize(
    ("careless", "lie", "found"),
    [
        (unpack, HONEST["a bomb of gzip is not unpacked"][0], f"bytes of memory, expected at most {BOUNDS.memory:,}"),
        (read_on, LIES["an endless body"], f"bytes, expected at most {BOUNDS.received:,}"),
        (wait, LIES["silence"], "it did not end within 1 s"),
        (wait, LIES["slow headers"], "it did not end within 1 s"),
    ],
    ids=["unpacks", "reads on", "waits", "waits for headers"],
)
def test_a_careless_download_is_noticed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, careless: object, lie: Lie, found: str
) -> None:
    """Downloads that unpack, read or wait without a bound break the promise, although they refuse in a sentence."""
    monkeypatch.setattr(test_hostile_http, "fetch", careless)
    if careless is wait:
        monkeypatch.setattr(test_hostile_http, "BOUNDS", BOUNDS._replace(seconds=1))
    server.respond_with(*lie(server))
    with pytest.raises(AssertionError, match=found):
        download(server, f"{server.url}/a", tmp_path / "a.part")
