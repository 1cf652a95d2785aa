"""Settings of `inkflow up`: its address on this machine."""

import asyncio
import socket
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prefect.settings.models.client import ClientSettings

from flows.prefect_server.api_client import connect
from flows.prefect_server.credentials import AUTH_FILE
from flows.prefect_server.environment import (
    HOSTS,
    ORIGIN_HOSTS,
    PASSWORD,
    RETRIED,
    is_loopback,
    is_own,
    machine_addresses,
)
from flows.prefect_server.server_check import check_health, check_server
from flows.prefect_server.up_settings import MORE_HOSTS, Settings, _read_password
from stages.base.errors import InvalidInput
from tests.support.loopback import JsonHandler, serving


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


def own_address() -> str:
    """Returns an address of IPv4 of this machine that is not loopback; the test skips without one."""
    addresses = sorted(address for address in machine_addresses() if address.count(".") == 3)
    own = [address for address in addresses if not is_loopback(f"http://{address}")]
    if not own:
        pytest.skip("this machine has no address but loopback")
    return own[0]


def test_no_proxy_gets_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--host` and an own address, no request of ours goes through the proxy, nor one of Prefect's clients."""
    host = own_address()
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # which takes no connection

    class Api(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            self.answer(200, "3.9.1")

    http = ThreadingHTTPServer((host, 0), Api)
    settings = Settings(Path(), host, http.server_port, None, "me:secret", None)
    with serving(http):
        check_health(settings.api_url)
        check_server(settings.api_url)
        with connect(settings.api_url, ("me", "secret")) as client:
            assert client.get("/health").is_success
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{settings.api_url}/health")
        monkeypatch.setenv("no_proxy", settings.client_environment()["no_proxy"])
        assert httpx.get(f"{settings.api_url}/health").is_success


def test_hosts_of_this_machine() -> None:
    """Loopback, the name of this machine and its addresses are its own; other addresses and text are not."""
    own = ("127.0.0.1", "[::1]", "localhost", socket.gethostname(), own_address())
    assert all(is_own(f"http://{host}:4200/api") for host in own)
    others = ("http://192.0.2.1/api", "http://server.example/api", "http://[/", "", "text")
    assert not any(is_own(url) for url in others)
