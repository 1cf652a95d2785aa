"""A proxy variable that is no URL is named in one sentence, which quotes no part of the password in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.ci import forge
from flows.machines import sources
from flows.prefect_server.notifications.receivers import Webhook
from flows.prefect_server.server_check import check_server
from flows.status.server import read_server
from stages.base.errors import InkflowError
from stages.download.http_download import fetch
from stages.sinks import mlflow_sink

URL = "http://inkflow.example/api"
PROXY = "http://user:s3cr/et@proxy:3128"
EXPECTED = "the variable HTTP_PROXY is no URL"


def ask_forge() -> object:
    """Sends a request to a forge."""
    with forge.client({}) as session:
        return forge.request(session, "read", "GET", URL)


CLIENTS: dict[str, Callable[[], object]] = {
    "forge": ask_forge,
    "download": lambda: fetch(URL, Path("a.part"), 1_000),
    "other machine": lambda: sources.open_source(Path(), URL),
    "server": lambda: check_server(URL),
    "webhook": lambda: Webhook(URL),
}


@pytest.fixture(autouse=True)
def bad_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the variable, and leaves no other one of its kind."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_variable_is_named(client: str) -> None:
    """Each client raises one of our errors, with the name of the variable."""
    with pytest.raises(InkflowError) as caught:
        CLIENTS[client]()
    assert EXPECTED in str(caught.value)
    assert "s3cr" not in str(caught.value)


def test_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink of MLflow reads the variable itself."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)
    with pytest.raises(InkflowError, match=r"the address of the proxy for http:// is no URL") as caught:
        mlflow_sink.connect()
    assert "s3cr" not in str(caught.value)


def test_exempt_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY can have such an address too."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("NO_PROXY", f"localhost,{PROXY}")
    with pytest.raises(InkflowError, match="the variable NO_PROXY is no URL"):
        check_server(URL)


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of certificates that the environment names may be missing."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/cacert.pem")
    with pytest.raises(InkflowError, match="the network settings cannot be used"), forge.client({}):
        pass


def test_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is shown without the server's answers."""
    monkeypatch.setenv("PREFECT_API_URL", URL)
    problem = read_server(tmp_path).problem
    assert EXPECTED in problem and "s3cr" not in problem
