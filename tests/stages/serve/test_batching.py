"""Batches of requests, without a server."""

import asyncio
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.base.files import write_json
from stages.predict.model_standing import file_sha256
from stages.predict.results import Result
from stages.serve.batching import Answer, Batcher
from stages.serve.metrics import Metrics
from stages.serve.served_model import ModelSlot, ServedModel, open_served_model
from stages.serve.settings import Settings
from tests.support.pictures import template, write_reader


def version(folder: Path, name: str) -> Path:
    """Writes a version of the model that reads digits, and returns its folder."""
    file = write_reader(folder / name / "model.onnx", [f"{name} {digit}" for digit in range(10)])
    write_json(file.with_name("version.json"), {"version": name, "commit": "c" * 40, "sha256": file_sha256(file)})
    return file.parent


def test_a_batch_that_fails_while_the_model_is_exchanged(tmp_path: Path) -> None:
    """After a batch has failed, its requests are asked one by one, of the model that had the batch."""
    slot, other = ModelSlot(version(tmp_path, "one")), open_served_model(version(tmp_path, "two"))

    class Fragile(ServedModel):
        """Fails on several samples, while the slot gets another model."""

        def answers(self, pixels: NDArray[np.float32]) -> list[Result]:
            """Returns the answers for a single sample."""
            if len(pixels) > 1:
                slot.model = other
                raise RuntimeError("too many samples")
            return super().answers(pixels)

    slot.model = Fragile(**vars(slot.model))

    async def ask(*digits: int) -> list[Answer]:
        batcher = Batcher(slot, Settings("reader", tmp_path), Metrics())
        samples = [template(digit)[None].astype(np.float32) for digit in digits]
        running = asyncio.create_task(batcher.run())
        try:
            return await asyncio.gather(*map(batcher.predict, samples))
        finally:
            running.cancel()

    answers = asyncio.run(ask(3, 7))
    assert slot.model is other
    assert [answer.model.version for answer in answers] == ["one", "one"]
    assert [answer.predictions[0][1] for answer in answers] == ["one 3", "one 7"]
