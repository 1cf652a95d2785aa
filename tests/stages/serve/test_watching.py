"""The server watches what it is asked: in the background, with alarms in the record of its model, and no image."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.predict.watcher import NO_REFERENCE
from stages.watch.record import Record, read_record
from tests.conftest import wait_until
from tests.support.model_server import model_server
from tests.support.pictures import write_reader
from tests.support.watched import digits, write_watched_reader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with the watched model `reader`."""
    (tmp_path / ".dvc").mkdir()
    write_watched_reader(tmp_path / "models/reader/model.onnx")
    return tmp_path


def ask(client: httpx.Client, pixels: NDArray[np.uint8]) -> None:
    """Has the server classify `pixels` as one request."""
    data = {"name": "image", "datatype": "FP32", "shape": list(pixels.shape), "data": pixels.reshape(-1).tolist()}
    assert client.post("/v2/models/reader/infer", json={"inputs": [data]}).status_code == 200


def record(folder: Path) -> Record | None:
    """Returns the only record in the project."""
    paths = list((folder / ".inkflow/watch").glob("*.json"))
    return read_record(paths[0]) if paths else None


def test_the_server_raises_an_alarm(folder: Path) -> None:
    """Healthy requests raise none; inverted ones raise one, which is logged; the last requests before the end count."""
    with model_server(folder, "reader") as client:
        for seed in range(3):
            ask(client, digits(100, seed))
        wait_until(lambda: (found := record(folder)) is not None and found.images == 300, timeout_s=60)
        ask(client, np.asarray(255 - digits(100), np.uint8))
        wait_until(lambda: (found := record(folder)) is not None and bool(found.alarms), timeout_s=60)
        assert "serve: alarm: ink is higher" in (folder / "serve.log").read_text()
        ask(client, digits(7))
    found = record(folder)
    assert found is not None and found.images == 407 and found.model == "reader"


def test_the_watch_of_the_server_can_be_switched_off(folder: Path) -> None:
    """With --no-watch no record is written; a model without a reference is served, and told once."""
    with model_server(folder, "reader", "--no-watch") as client:
        ask(client, digits(10))
    assert record(folder) is None
    write_reader(folder / "models/reader/model.onnx")
    with model_server(folder, "reader") as client:
        ask(client, digits(10))
        ask(client, digits(10))
    assert (folder / "serve.log").read_text().count(NO_REFERENCE) == 1
