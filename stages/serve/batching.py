"""Batches of what arrives together: while the model computes, further requests wait, and are its next batch."""

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.predict.results import Result
from stages.serve.metrics import Metrics
from stages.serve.served_model import ModelSlot, ServedModel
from stages.serve.settings import Settings
from stages.serve.watching import ServerWatch

INLINE_S = 0.002  # a batch that takes less runs in the event loop: a thread would cost as much


class Busy(Exception):
    """Too many samples wait: the request is refused at once."""


class ModelChanged(Exception):
    """The model was exchanged for one that takes samples of another shape."""


class Answer(NamedTuple):
    """Predictions, and the model that made them."""

    predictions: list[Result]
    model: ServedModel


class _Request(NamedTuple):
    pixels: NDArray[np.float32]
    future: "asyncio.Future[Answer]"


class Batcher:
    """Asks the model for all requests, one batch at a time."""

    def __init__(self, slot: ModelSlot, settings: Settings, metrics: Metrics, watch: ServerWatch | None = None) -> None:
        self._slot, self._settings, self._metrics, self._watch = slot, settings, metrics, watch
        self._waiting: deque[_Request] = deque()
        self._count = 0  # samples that wait
        self._arrived = asyncio.Event()
        self._expected_s = 1.0  # of one sample, until it is known
        self._thread = ThreadPoolExecutor(1, "model")

    async def predict(self, pixels: NDArray[np.float32]) -> Answer:
        """Returns the predictions for `pixels` (n, *shape).

        Raises:
            Busy: too many samples wait.
            TimeoutError: the answer takes longer than the time limit.
        """
        if self._count + len(pixels) > self._settings.max_queue:
            raise Busy
        request = _Request(pixels, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._count += len(pixels)
        self._arrived.set()
        return await asyncio.wait_for(request.future, self._settings.timeout_s)

    async def run(self) -> None:
        """Answers requests until it is cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = self._next_batch()
                if batch:
                    await self._answer(batch, self._slot.model)

    def _next_batch(self) -> list[_Request]:
        """Removes requests from the queue, as many as fit into a batch; those that nobody waits for are dropped."""
        batch: list[_Request] = []
        size = 0
        shape = self._slot.model.classifier.shape
        while self._waiting:
            length = len(self._waiting[0].pixels)
            if batch and size + length > self._settings.max_batch:
                break
            request = self._waiting.popleft()
            self._count -= length
            if request.future.done():
                continue
            if request.pixels.shape[1:] != shape:
                request.future.set_exception(
                    ModelChanged(f"the model now takes samples of shape {shape}; send it again")
                )
                continue
            batch.append(request)
            size += length
        return batch

    async def _answer(self, batch: list[_Request], model: ServedModel) -> None:
        """Answers requests by `model`, whose shape they have: the slot may get another one meanwhile."""
        try:
            pixels = batch[0].pixels if len(batch) == 1 else np.concatenate([request.pixels for request in batch])
            if self._expected_s * len(pixels) < INLINE_S:
                predictions, seconds = self._compute(model, pixels)
                await asyncio.sleep(0)  # lets requests arrive
            else:
                loop = asyncio.get_running_loop()
                predictions, seconds = await loop.run_in_executor(self._thread, self._compute, model, pixels)
        except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime raises
            if len(batch) > 1:  # it belongs to one of the requests
                for request in batch:
                    await self._answer([request], model)
            elif not batch[0].future.done():
                batch[0].future.set_exception(error)
            return
        self._expected_s = seconds / len(pixels)
        self._metrics.batch(len(pixels), predictions)
        if self._watch:
            self._watch.see(model, pixels, predictions)
        start = 0
        for request in batch:
            end = start + len(request.pixels)
            if not request.future.done():  # a client that is gone, or waited too long
                request.future.set_result(Answer(predictions[start:end], model))
            start = end

    def _compute(self, model: ServedModel, pixels: NDArray[np.float32]) -> tuple[list[Result], float]:
        """Returns the predictions and the seconds that the model took; large requests in slices."""
        started, size = time.perf_counter(), self._settings.max_batch
        parts = [model.answers(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return [prediction for part in parts for prediction in part], time.perf_counter() - started
