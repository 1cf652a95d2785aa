"""Settings of `inkflow up`: its address on this machine."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prefect.settings.models.client import ClientSettings

from flows.prefect_server.environment import HOSTS, ORIGIN_HOSTS, RETRIED
from flows.prefect_server.up_settings import MORE_HOSTS, Settings


def has_ipv6() -> bool:
    """Returns whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "", "::", "::1"])
def test_a_server_on_each_host_is_reached_under_its_address(host: str) -> None:
    """A server that listens as uvicorn does, with asyncio, answers at the address that workers and pages get."""
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()

    async def ask() -> bytes:
        async with await asyncio.start_server(answer, host, 0) as server:
            ports = {item.family: item.getsockname()[1] for item in server.sockets}
            address = urlsplit(Settings(Path(), host, 0, None, "", None).ui_url).hostname or ""
            reader, writer = await asyncio.open_connection(
                address, ports[socket.AF_INET6 if ":" in address else socket.AF_INET]
            )
            content = await reader.read()
            writer.close()
            return content

    assert asyncio.run(ask()) == b"here"


def test_pages_of_the_names_that_a_person_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes requests under its own names and those of INKFLOW_HOSTS, and pages of the latter."""
    monkeypatch.setenv(MORE_HOSTS, "Flows.example, other.example,")
    variables = Settings(Path(), "127.0.0.1", 4200, None, "", None).server_environment()
    assert variables[ORIGIN_HOSTS] == "flows.example,other.example"
    assert set(variables[HOSTS].split(",")) == {"127.0.0.1", "::1", "localhost", "flows.example", "other.example"}


def test_workers_repeat_what_a_server_without_its_database_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers and their runs repeat requests that are answered with 500 or 504; what a person has set stays."""
    monkeypatch.delenv(RETRIED, raising=False)
    settings = Settings(Path(), "127.0.0.1", 4200, None, "", None)
    assert RETRIED not in settings.client_environment().keys() | settings.server_environment().keys()
    monkeypatch.setenv(RETRIED, settings.worker_environment()[RETRIED])
    assert ClientSettings().retry_extra_codes == {500, 504}
    monkeypatch.setenv(RETRIED, "500")
    assert settings.worker_environment()[RETRIED] == "500"
