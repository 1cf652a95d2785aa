"""The gate of the server, without a server: bodies that arrive at once."""

import asyncio
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import Message

from stages.serve.guard import BODIES, Guard
from stages.serve.metrics import Metrics
from stages.serve.settings import Settings


def test_bodies_that_arrive_at_once() -> None:
    """More bodies of the largest size than the server holds: one is refused, and told to come back in a second."""
    starts: list[Message] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            starts.append(message)

    async def arrive(guard: Guard, refused: asyncio.Event) -> None:
        first: list[Message] = [{"type": "http.request", "body": b"x" * 10, "more_body": True}]

        async def receive() -> Message:
            if first:
                return first.pop()
            await refused.wait()
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")]}
        await guard(scope, receive, send)
        refused.set()

    async def arrive_together() -> None:
        settings = Settings("m", Path(), max_body=10)
        guard, refused = Guard(PlainTextResponse("taken"), settings, Metrics(), lambda scope: None), asyncio.Event()
        await asyncio.gather(*(arrive(guard, refused) for _ in range(BODIES + 1)))

    asyncio.run(arrive_together())
    assert sorted(start["status"] for start in starts) == [200] * BODIES + [503]
    assert dict(starts[0]["headers"])[b"retry-after"] == b"1"
