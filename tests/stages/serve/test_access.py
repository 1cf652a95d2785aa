"""Access to the server behind a reverse proxy, requests for the headers alone, and the form of the token."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stages.base.errors import InvalidInput
from stages.serve.server import check_token
from stages.serve.settings import Settings
from tests.support.model_server import served_app
from tests.support.pictures import draw, encoded, write_reader


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server behind the proxy models.example."""
    folder = tmp_path_factory.mktemp("serve")
    write_reader(folder / "models/reader/model.onnx")
    with served_app(folder, "reader", "--host-name=Models.example") as client:
        yield client


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://models.example", 200),
        ("https://models.example:8443", 200),
        ("https://evil.example", 403),
        ("https://models.example.evil.example", 403),
        ("http://localhost:3000", 403),  # a name of the server, but of another one too, and nobody gave it
        ("null", 403),
    ],
)
def test_pages_of_a_proxy(client: httpx.Client, origin: str, status: int) -> None:
    """A proxy that sends the server's address as Host is known by its name in Origin, if --host-name gave it."""
    answer = client.post("/predict", content=encoded(draw(1), "PNG"), headers={"Origin": origin})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/docs", "/card", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/models/reader"]
)
def test_head(client: httpx.Client, path: str) -> None:
    """HEAD is answered as GET, without the body."""
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/predict").status_code == 405 and client.head("/nothing").status_code == 404


@pytest.mark.parametrize("token", ["s3cret", "s3cret\n", " s3cret\r\n"])
def test_white_space_around_the_token(token: str) -> None:
    """A token from a file with a newline at its end is the one that clients send, without it."""
    assert check_token(Settings("m", Path(), token=token)).token == "s3cret"


@pytest.mark.parametrize("token", ["two words", "geheimnisvoll-ß", "a\nb", "\n", "a\x7f"])
def test_a_token_that_no_header_holds(token: str) -> None:
    """A token that clients cannot send is refused when the server starts, as is a blank one."""
    with pytest.raises(InvalidInput, match="INKFLOW_SERVE_TOKEN is blank, or has a space or a character"):
        check_token(Settings("m", Path(), token=token))
