"""Requests of web pages to Prefect's server: those of other origins are refused, those of a named proxy are not."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from flows.prefect_server.same_origin import SameOriginMiddleware

OWN = "http://127.0.0.1:4200"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (OWN, 200),
        ("https://flows.example", 200),
        ("https://FLOWS.example:8443", 200),
        ("https://evil.example", 403),
        ("https://flows.example.evil.example", 403),
        ("http://localhost:3000", 403),
        ("null", 403),
    ],
)
def test_pages_of_a_proxy(origin: str, status: int) -> None:
    """A proxy that sends the server's address as Host is known by its name in Origin, if INKFLOW_HOSTS has it."""
    hosts = frozenset({"127.0.0.1", "localhost", "flows.example"})
    app = SameOriginMiddleware(PlainTextResponse("here"), frozenset({OWN}), hosts, frozenset({"flows.example"}))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN) as client:
            return await client.post("/api/flows/filter", headers={"Origin": origin})

    assert asyncio.run(ask()).status_code == status
