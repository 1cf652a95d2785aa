"""The server watches what it is asked: in the background, with alarms in the record of its model, and no image."""

import asyncio
import tracemalloc
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.monitor.command import main as monitor
from stages.predict.classifier import open_classifier
from stages.predict.model_standing import file_sha256
from stages.predict.results import Prediction, Result
from stages.predict.watcher import NO_REFERENCE, watched
from stages.serve import watching
from stages.serve.served_model import ModelSlot, open_served_model
from stages.serve.watching import ANSWER_BYTES, LEFT_OUT, MAX_BYTES, ServerWatch
from stages.watch.comparisons import CLASSES
from stages.watch.record import Record, read_record
from tests.conftest import wait_until
from tests.support.model_server import model_server, served_app
from tests.support.pictures import write_reader
from tests.support.watched import digits, write_watched_reader

QUICK = "tests.support.quick_serve"  # looks ten times as often at what the server was asked


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
    paths = list((folder / ".inkflow/watch").glob("[!.]*.json"))  # not one that is being written
    return read_record(paths[0]) if paths else None


def test_the_server_raises_an_alarm(folder: Path) -> None:
    """Healthy requests raise none; inverted ones raise one, which is logged; the last requests before the end count."""
    with model_server(folder, "reader", module=QUICK) as client:
        for seed in range(3):
            ask(client, digits(100, seed))
        wait_until(lambda: (found := record(folder)) is not None and found.images == 300, timeout_s=60)
        ask(client, np.asarray(255 - digits(100), np.uint8))
        wait_until(lambda: (found := record(folder)) is not None and bool(found.alarms), timeout_s=60)
        wait_until(lambda: "serve: alarm: ink is higher" in (folder / "serve.log").read_text(), timeout_s=60)
        ask(client, digits(7))
    found = record(folder)
    assert found is not None and found.images == 407 and found.model == "reader"


def test_standing_alarms_are_a_metric(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An alarm that stands is shown without any request, until a decision; a damaged record is told in the log."""
    monkeypatch.chdir(folder)
    path = folder / "models/reader/model.onnx"
    classifier = watched(open_classifier(path), file_sha256(path), {})
    list(classifier.answers(255 - digits(100).astype(np.float32)))
    assert classifier.watcher is not None
    classifier.watcher.keep()
    assert classifier.watcher.save()
    monkeypatch.setattr(watching, "PAUSE_S", 0.1)
    with served_app(folder, "reader") as client:
        wait_until(lambda: 'inkflow_alarms{statistic="ink"} 1.0' in client.get("/metrics").text, timeout_s=60)
        assert monitor(["reader", "--reset", "repaired"]) == 0
        wait_until(lambda: 'inkflow_alarms{statistic="ink"} 0.0' in client.get("/metrics").text, timeout_s=60)
        next((folder / ".inkflow/watch").glob("[!.]*.json")).write_text("{")
        ask(client, digits(10))
        wait_until(lambda: "no longer count" in capsys.readouterr().err, timeout_s=60)


def test_what_waits_is_bounded(folder: Path) -> None:
    """Of the answers only what is compared waits, not 1,000 probabilities each; a full queue takes no more."""
    model, watch = open_served_model(folder / "models/reader"), ServerWatch(print, print)
    random = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for _ in range(20):
            values = (tuple(random.random(1000).tolist()) for _ in range(10))
            answers: list[Result] = [Prediction("a", "1", 0.9, "2", 0.1, probabilities=item) for item in values]
            watch.see(model, np.zeros((10, 28, 28), np.float32), answers)
        del answers, values
        assert tracemalloc.get_traced_memory()[0] < 1.5 * 20 * 10 * 28 * 28 * 4
        one: Result = Prediction("a", "1", 0.9, "2", 0.1, probabilities=(0.9, 0.1))
        for _ in range(10):
            watch.see(model, np.zeros((1000, 3000), np.float32), [one] * 1000)
        assert tracemalloc.get_traced_memory()[0] < 1.1 * MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fitting", [200, 0])
def test_a_part_of_a_large_request_is_watched(folder: Path, monkeypatch: pytest.MonkeyPatch, fitting: int) -> None:
    """Of a request that does not fit, samples from all of it are watched, at least one; the log says so once."""
    monkeypatch.chdir(folder)
    slot, pixels = ModelSlot(folder / "models/reader"), digits(400).astype(np.float32)
    answers = slot.model.answers(pixels)
    order = np.argsort([np.argmax(one.probabilities) for one in answers if isinstance(one, Prediction)])
    monkeypatch.setattr(watching, "MAX_BYTES", fitting * (28 * 28 * 4 + ANSWER_BYTES))
    log: list[str] = []
    watch = ServerWatch(log.append, lambda _: None)
    for _ in range(2):
        for _ in range(2):  # the second one does not fit at all
            watch.see(slot.model, pixels[order], [answers[index] for index in order])
        asyncio.run(look(watch, slot))
    found = record(folder)
    assert found is not None and found.images == 2 * max(fitting, 1)
    [classes] = [item for item in found.comparisons if item.name == CLASSES]
    assert len(classes.recent) == 10
    assert not fitting or min(classes.recent) > 0.05 * sum(classes.recent)
    assert log.count(LEFT_OUT) == 1


async def look(watch: ServerWatch, slot: ModelSlot) -> None:
    """Has the watch look once: it does so when it is cancelled."""
    task = asyncio.create_task(watch.run(slot))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_the_watch_of_the_server_can_be_switched_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --no-watch no record is written."""
    monkeypatch.chdir(folder)
    with served_app(folder, "reader", "--no-watch") as client:
        ask(client, digits(10))
    assert record(folder) is None


def test_a_model_without_a_reference_is_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model without a reference is served, and the log says once that it cannot be watched."""
    monkeypatch.chdir(folder)
    write_reader(folder / "models/reader/model.onnx")
    with served_app(folder, "reader") as client:
        ask(client, digits(10))
        ask(client, digits(10))
    assert capsys.readouterr().err.count(NO_REFERENCE) == 1
