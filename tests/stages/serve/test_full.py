"""A server with as many requests, pictures or connections as it takes: the next one is refused, the others are not."""

import asyncio
import errno
import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.types import ASGIApp, Message

from stages.serve import pictures, server
from stages.serve.app import create_app
from stages.serve.inference_protocol import HEADER_LENGTH
from stages.serve.served_model import ModelSlot
from stages.serve.settings import Settings
from tests.conftest import wait_until
from tests.support import few_connections
from tests.support.model_server import WAIT_S, model_server
from tests.support.pictures import draw, encoded, template, write_reader
from tests.support.raw_http import connect

INFER, LIVE = "/v2/models/reader/infer", "/v2/health/live"
SAMPLES, PICTURES = 1024, 64  # that may wait, as docs/serve.md says
LARGE = 64  # samples of a request
PICTURE = encoded(draw(3, 20), "PNG")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event for which the threads wait before they read a picture."""
    event, read = threading.Event(), pictures.read_picture

    def read_later(*arguments: Any) -> Any:
        event.wait(WAIT_S)
        return read(*arguments)

    monkeypatch.setattr(pictures, "read_picture", read_later)
    yield event
    event.set()


def ask(folder: Path, use: Callable[[httpx.AsyncClient, ASGIApp], Awaitable[None]], timeout_s: float = WAIT_S) -> None:
    """Uses an application that answers nothing before it runs."""
    write_reader(folder / "model.onnx")
    app = create_app(Settings("reader", folder, timeout_s=timeout_s, watch=False), ModelSlot(folder))

    async def start() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=WAIT_S) as client:
            await use(client, app)

    asyncio.run(start())


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """Runs the application, as uvicorn does, until the end of the block."""
    messages, begun = asyncio.Queue[Message](), asyncio.Event()

    async def send(_: Message) -> None:
        begun.set()

    messages.put_nowait({"type": "lifespan.startup"})
    task = asyncio.ensure_future(app({"type": "lifespan"}, messages.get, send))
    await begun.wait()
    yield
    messages.put_nowait({"type": "lifespan.shutdown"})
    await task


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture that cannot be written to a file gets one sentence in JSON, and the log has what to do."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)

    async def use(client: httpx.AsyncClient, _: ASGIApp) -> None:
        answer = await client.post("/predict", content=PICTURE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {
            "error": "a fault of this server's machine (No space left on device); send it again later"
        }

    ask(tmp_path, use)
    assert capsys.readouterr().err == "serve: /tmp/x: No space left on device; free disk space, then run again\n"


async def one_is_refused(requests: list[Coroutine[Any, Any, httpx.Response]]) -> "list[asyncio.Task[httpx.Response]]":
    """Sends requests of which one is too many; returns the others, which wait."""
    tasks = [asyncio.create_task(request) for request in requests]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
    (answer,) = [task.result() for task in done]
    is_refused(answer, "too many requests wait; send it again")
    return [task for task in tasks if task in waiting]


def packed(count: int) -> dict[str, Any]:
    """Returns the arguments of an inference request for the digit 7, `count` times, whose pixels follow as bytes."""
    pixels = np.repeat(template(7)[None], count, 0).astype("<f4")
    size = {"binary_data_size": pixels.nbytes}
    data = {"name": "image", "datatype": "FP32", "shape": pixels.shape, "parameters": size}
    head = json.dumps({"inputs": [data], "outputs": [{"name": "label"}]}).encode()
    return {"content": head + pixels.tobytes(), "headers": {HEADER_LENGTH: str(len(head))}}


def is_refused(answer: httpx.Response, sentence: str) -> None:
    """Checks that a client is told to send its request again in a second."""
    assert (answer.status_code, answer.json()) == (503, {"error": sentence})
    assert answer.headers["retry-after"] == "1"


def test_samples_that_wait(tmp_path: Path) -> None:
    """As many samples wait as documented; one more is refused, and those that wait are answered."""

    async def use(client: httpx.AsyncClient, app: ASGIApp) -> None:
        requests = [packed(LARGE)] * (SAMPLES // LARGE) + [packed(1)]
        waiting = await one_is_refused([client.post(INFER, **request) for request in requests])
        async with running(app):
            answers = [*await asyncio.gather(*waiting), await client.post(INFER, **packed(SAMPLES))]
            assert {label for answer in answers for label in answer.json()["outputs"][0]["data"]} == {"7"}

    ask(tmp_path, use)


def test_pictures_that_wait(tmp_path: Path, gate: threading.Event) -> None:
    """As many pictures wait as documented; one more is refused, and those that wait are answered."""

    async def use(client: httpx.AsyncClient, app: ASGIApp) -> None:
        waiting = await one_is_refused([client.post("/predict", content=PICTURE) for _ in range(PICTURES + 1)])
        gate.set()
        async with running(app):
            answers = [*await asyncio.gather(*waiting), await client.post("/predict", content=PICTURE)]
            assert [answer.json()["label"] for answer in answers] == ["3"] * (PICTURES + 1)

    ask(tmp_path, use)


@pytest.mark.parametrize(("path", "body"), [(INFER, packed(1)), ("/predict", {"content": PICTURE})])
def test_no_answer_in_time(tmp_path: Path, gate: threading.Event, path: str, body: dict[str, Any]) -> None:
    """A request that the model, or the reader of pictures, does not answer in time is to be sent again."""

    async def use(client: httpx.AsyncClient, _: ASGIApp) -> None:
        is_refused(await client.post(path, **body), "no answer in time; send it again")

    ask(tmp_path, use, timeout_s=0.05)


def test_connections(tmp_path: Path) -> None:
    """As many connections are served as the limit says; a request on one more is refused, until another is closed."""
    write_reader(tmp_path / "models/reader/model.onnx")
    assert server.MAX_CONNECTIONS == 1000  # as docs/serve.md says
    with model_server(tmp_path, "reader", module=few_connections.__name__) as client:

        def live() -> httpx.Response:
            return client.get(LIVE, headers={"Connection": "close"})

        with ExitStack() as idle:
            for _ in range(few_connections.CONNECTIONS - 1):
                idle.enter_context(connect(client))
            assert live().status_code == 200
            with connect(client):
                answer = live()
                assert (answer.status_code, answer.text) == (503, "Service Unavailable")
                assert answer.headers["content-type"].startswith("text/plain")
            wait_until(lambda: live().status_code == 200, timeout_s=WAIT_S)
