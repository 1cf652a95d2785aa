"""A project whose data set lies on a server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.download import download
from tests.support.download_project import ARGUMENTS, RAW, Refusal
from tests.support.http_server import Server
from tests.support.tiny_data import refusal, save, snapshot, write_params


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers 404 until it is told otherwise."""
    with Server().running() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """The current folder: params.yaml whose data set lies on the server, an empty Keras cache, no mirror."""
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
    """The right file."""
    return save(tmp_path / "right.npz").read_bytes()


@pytest.fixture
def refused(project: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run the stage, which must fail with one sentence and leave earlier outputs as they were."""
    RAW.mkdir(parents=True)
    for name in ("dataset.npz", "dataset.json"):
        (RAW / name).write_text(f"earlier {name}")

    def call() -> tuple[int, str]:
        before = snapshot(RAW)
        result = refusal(download.main, ARGUMENTS, capsys)
        assert snapshot(RAW) == before
        return result

    return call
