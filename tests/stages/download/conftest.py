"""Fixtures: a project with a data set on a local HTTP server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tenacity import wait_fixed

from stages.download import download, http_download
from tests.support.download_project import ARGUMENTS, RAW, RunFailing
from tests.support.http_server import Server
from tests.support.tiny_data import expect_error, save, snapshot, write_params


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the random waits between attempts; what a server requests is waited for."""
    monkeypatch.setattr(http_download, "BACKOFF", wait_fixed(0.01))


@pytest.fixture
def server() -> Iterator[Server]:
    """A local server that answers 404 by default."""
    with Server().running() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """The current folder, with a params.yaml whose data set is on the server; empty Keras cache, no mirror."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("no_proxy", "http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("INKFLOW_MIRROR", raising=False)
    write_params(folder, f"{server.url}/tiny.npz")
    return folder


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """The bytes of a valid file."""
    return save(tmp_path / "valid.npz").read_bytes()


@pytest.fixture
def run_failing(project: Path, capsys: pytest.CaptureFixture[str]) -> RunFailing:
    """Runs the stage with these options; it must fail with a message of one line and keep the earlier outputs."""
    RAW.mkdir(parents=True)
    for name in ("dataset.npz", "dataset.json"):
        (RAW / name).write_text(f"earlier {name}")

    def call(*options: str) -> tuple[int, str]:
        before = snapshot(RAW)
        result = expect_error(download.main, [*ARGUMENTS, *options], capsys)
        assert snapshot(RAW) == before
        return result

    return call
