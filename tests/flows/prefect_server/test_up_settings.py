"""Settings of `inkflow up`: its address on this machine."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prefect.settings.models.client import ClientSettings

from flows.prefect_server.credentials import AUTH_FILE
from flows.prefect_server.environment import HOSTS, ORIGIN_HOSTS, PASSWORD, RETRIED
from flows.prefect_server.up_settings import MORE_HOSTS, Settings, _read_password
from stages.base.errors import InvalidInput


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


def test_a_password_that_the_server_cannot_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password with other characters than those of ASCII is refused with its source, and not told."""
    monkeypatch.delenv(PASSWORD, raising=False)
    assert _read_password(tmp_path).isascii()
    (tmp_path / AUTH_FILE).write_text("inkflow:Schlüssel", encoding="utf-8")
    with pytest.raises(InvalidInput, match=f"{AUTH_FILE}: Prefect's server accepts ASCII") as refused:
        _read_password(tmp_path)
    assert "Schl" not in str(refused.value)
    monkeypatch.setenv(PASSWORD, "me:Schlüssel")
    with pytest.raises(InvalidInput, match=f"{PASSWORD}: Prefect's server accepts ASCII"):
        _read_password(tmp_path)
