"""More than twenty hostile requests at once, while a healthy client asks all the time and gets each answer right."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stages.serve.test_serve import image, tensor
from tests.support.model_server import model_server
from tests.support.pictures import draw, encoded, huge_jpeg, pickled, png, write_reader, zip_bomb
from tests.support.raw_http import HealthyClient, connect, exchange, head, status

INFER = "/v2/models/reader/infer"
CLOSED = 0  # the connection is closed without an answer
IDLE = 300  # connections

Attack = Callable[[httpx.Client], bytes | int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `reader`."""
    folder = tmp_path_factory.mktemp("hostile")
    write_reader(folder / "models/reader/model.onnx")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    """A client of a server of this model with small limits."""
    with model_server(
        folder, "reader", "--max-body=4000000", "--max-pixels=4000000", "--timeout=5", "--no-watch"
    ) as client:
        yield client


def post(path: str, content: bytes, *headers: str) -> Attack:
    """A POST request of this content."""
    return lambda client: exchange(
        client, [head(client, f"POST {path}", f"Content-Length: {len(content)}", *headers) + content]
    )


def lines(line: str, *headers: str, host: str | None = None) -> Attack:
    """A request without a body."""
    return lambda client: exchange(client, [head(client, line, *headers, host=host)])


def stated(length: int) -> Attack:
    """A POST request whose body does not come."""
    return lambda client: exchange(client, [head(client, "POST /predict", f"Content-Length: {length}")])


def endless(client: httpx.Client) -> bytes:
    """A body in chunks that does not end."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    return exchange(client, chain([head(client, "POST /predict", "Transfer-Encoding: chunked")], repeat(chunk)))


def drip(start: str, *headers: str) -> Attack:
    """A request whose bytes come one by one."""

    def attack(client: httpx.Client) -> bytes:
        first = head(client, start, *headers)
        first = first if headers else first[:-2]  # without headers, its head does not end
        return exchange(client, chain([first], repeat(b"a")), pause_s=0.2)

    return attack


def cut(client: httpx.Client) -> int:
    """Connections that end in the middle of a body."""
    for size in range(1, 40, 3):
        with connect(client) as connection:
            connection.sendall(head(client, "POST /predict", "Content-Length: 50") + b"x" * size)
    return CLOSED


def idle(client: httpx.Client) -> int:
    """Many connections that ask nothing; returns once the server has closed all."""
    connections = [connect(client) for _ in range(IDLE)]
    for connection in connections:
        with connection:
            assert connection.recv(10) == b""
    return CLOSED


def deaf(client: httpx.Client) -> int:
    """Many requests on one connection, whose answers nobody reads, until the server closes it."""
    request = head(client, "GET /page.js")
    with connect(client) as connection:
        try:
            for _ in range(100_000):
                connection.sendall(request * 10)
        except (ConnectionError, BrokenPipeError):
            return CLOSED
    return -1


def smuggled(client: httpx.Client) -> bytes:
    """Two lengths that contradict each other: the second request must not be answered."""
    headers = ("Content-Length: 6", "Transfer-Encoding: chunked")
    second = head(client, "GET /v2/health/live")
    found = b""
    with connect(client) as connection:
        connection.sendall(head(client, "POST /predict", *headers) + b"0\r\n\r\n" + second)
        while part := connection.recv(1 << 16):
            found += part
    assert found.count(b"HTTP/1.1 ") == 1
    return found


def broken_chunk(client: httpx.Client) -> bytes:
    """A chunk whose size is no number, after a good start; and line noise behind an answered request."""
    exchange(client, [head(client, "GET /v2/health/live") + b"\x00\x01\r\n\r\n"])
    start = head(client, "POST /predict", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n"
    return exchange(client, [start, b"zz\r\nabc\r\n"], pause_s=0.2)


def injected(client: httpx.Client) -> bytes:
    """Line ends in a name, which must not become headers of the answer."""
    found = exchange(client, [head(client, "GET /v2/models/x%0d%0aSet-Cookie:%20a=b")])
    assert b"\r\nset-cookie" not in found.lower()
    return found


NAN = json.dumps(image([1, 28, 28], [float("nan")] * 784)).encode()
LONG_NUMBER = json.dumps(image([1, 28, 28], [1] * 784)).encode().replace(b"[1, 1,", b"[" + b"9" * 100_000 + b", 1,")
ATTACKS: dict[str, tuple[Attack, set[int]]] = {
    "huge body": (stated(10**15), {413}),
    "a length beyond any number": (stated(10**40), {400, 413}),
    "a negative length": (stated(-1), {400}),
    "endless chunks": (endless, {413, CLOSED}),  # the reset of the connection may overtake the answer
    "slow head": (drip("POST /predict"), {CLOSED}),
    "slow body": (drip("POST /predict", "Content-Length: 4000"), {408}),
    "cut bodies": (cut, {CLOSED}),
    "bomb of a PNG": (post("/predict", png(60_000, 60_000, b"\0" * 3_000_000)), {400}),
    "bomb of a JPEG": (post("/predict", huge_jpeg(encoded(draw(3), "JPEG"), 60_000)), {400}),
    "bomb of a zip": (post("/predict", zip_bomb()), {400}),
    "bomb of gzip": (post("/predict", gzip.compress(b"\0" * 50_000_000), "Content-Encoding: gzip"), {400}),
    "compressed tensors": (post(INFER, gzip.compress(b"[" * 10**6), "Content-Encoding: gzip"), {415}),
    "pickled objects": (post("/predict", pickled()), {400}),
    "another kind": (post("/predict", b"<xml/>", "Content-Type: text/xml"), {400}),
    "another dtype": (post(INFER, json.dumps(image([1, 28, 28], ["a"], "BYTES")).encode()), {400}),
    "another shape": (post(INFER, json.dumps(image([10**9, 28, 28], [])).encode()), {400}),
    "no numbers": (post(INFER, NAN), {400}),
    "a number of 100,000 digits": (post(INFER, LONG_NUMBER), {400}),
    "deep JSON": (post(INFER, b"[" * 1_000_000), {400}),
    "text that is no UTF-8": (post(INFER, b'{"inputs": "\xff\xfe"}'), {400}),
    "a path that is no UTF-8": (lines("GET /v2/models/%ff%fe%00"), {404}),
    "another origin": (lines("POST /predict", "Origin: http://evil.example", "Content-Length: 0"), {403}),
    "another host": (lines("GET /", host="evil.example"), {421}),
    "no such folder": (lines("GET /v2/models/..%2f..%2f..%2fetc%2fpasswd"), {404}),
    "up and up": (lines("GET /page.css/../../../../etc/passwd"), {404}),
    "two slashes": (lines("GET //etc/passwd"), {404}),
    "a name with line ends": (injected, {404}),
    "a header with a line end": (lines("GET /", "X: a\nY: b"), {200, 400}),
    "two lengths": (post("/predict", b"abc", "Content-Length: 30"), {400}),
    "a length and chunks": (smuggled, {400}),
    "a broken chunk": (broken_chunk, {400}),
    "another method": (lines("DELETE /predict"), {405}),
    "no method": (lines("\x01\x02 /predict"), {400}),
    "a web socket": (
        lines("GET /predict", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x"),
        {400, 404, 405, 426},
    ),
    "a huge header": (lines("GET /", "X: " + "x" * 200_000), {400, 431}),
    "many headers": (lines("GET /", *(f"X{number}: x" for number in range(20_000))), {400, 431}),
    "TLS": (lambda client: exchange(client, [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)]), {400}),
    "idle connections": (idle, {CLOSED}),
    "a client that does not read": (deaf, {CLOSED}),
}  # fmt: skip


def healthy_requests() -> list[tuple[str, dict[str, Any], str]]:
    """Tensors and pictures, and what their answers say."""
    tensors = [(INFER, {"json": tensor([digit])}, f'"data": ["{digit}"]') for digit in range(10)]
    pictures = [("/predict", {"content": encoded(draw(digit), "PNG")}, f'"label":"{digit}"') for digit in range(10)]
    return [*tensors, *pictures]


def test_a_broken_chunk_of_a_head_request(client: httpx.Client, folder: Path) -> None:
    """A HEAD request with a wrong chunk is refused without a body, and the server logs nothing of it."""
    answer = exchange(client, [head(client, "HEAD /predict", "Transfer-Encoding: chunked") + b"zz\r\nabc\r\n"])
    assert status(answer) == 400 and answer.endswith(b"\r\n\r\n")
    assert "Traceback" not in (folder / "serve.log").read_text(encoding="utf-8")


@pytest.mark.farm
def test_a_healthy_client_is_answered_all_the_time(client: httpx.Client, folder: Path) -> None:
    """Each attack gets the answer that it should, and each answer to the healthy client is right meanwhile.

    The server logs no error, and nothing for each request: that would fill its disk.
    """
    found: dict[str, int] = {}

    def attack(name: str) -> None:
        answer = ATTACKS[name][0](client)
        found[name] = answer if isinstance(answer, int) else status(answer)

    with HealthyClient(client, healthy_requests()) as healthy:
        threads = [threading.Thread(target=attack, args=(name,)) for name in ATTACKS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {name: found.get(name) for name in ATTACKS if found.get(name) not in ATTACKS[name][1]} == {}
    assert healthy.wrong == []
    assert healthy.asked > 0
    assert client.get("/v2/health/live").status_code == 200
    assert len((folder / "serve.log").read_text(encoding="utf-8").splitlines()) == 1
