"""Watches what the server is asked, in the background: answers do not wait for it, and its memory is bounded."""

import asyncio
from collections.abc import Callable, Mapping
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InkflowError
from stages.predict.results import Prediction, Result
from stages.predict.watcher import Watcher, answers_of, watched
from stages.serve.served_model import UNREGISTERED, ModelSlot, ServedModel

ANSWER_BYTES = 32  # of what is compared of one answer
PAUSE_S = 5.0  # between two looks at what has come
MAX_BYTES = 16_000_000  # of samples and answers that wait; further ones are not watched, which changes no share
LEFT_OUT = (
    f"more than {MAX_BYTES // 1_000_000} MB of samples came within {PAUSE_S:g} s, so a part of them is watched, which "
    "is chosen at random within each request; this is said once"
)


class _Seen(NamedTuple):
    model: ServedModel
    pixels: NDArray[np.float32]
    answers: dict[str, NDArray[np.float64]]  # of all probabilities, those that are compared


class ServerWatch:
    """Takes what the server was asked and adds it to the record of its model."""

    def __init__(self, log: Callable[[str], None], show: Callable[[Mapping[str, bool]], None]) -> None:
        """Begins to watch.

        Args:
            log: is called with each new alarm, and with what prevents the watch.
            show: is called at each look with the statistics, and whether an alarm stands.
        """
        self._log, self._show = log, show
        self._waiting: list[_Seen] = []
        self._bytes = 0
        self._random = np.random.default_rng(0)
        self._left_out, self._is_left_out_told = False, False
        self._watcher: Watcher | None = None
        self._sha256 = ""
        self._told = ""
        self._lock = Lock()

    def see(self, model: ServedModel, pixels: NDArray[np.float32], predictions: list[Result]) -> None:
        """Remembers samples (n, *shape) and their n answers until the next look: as many as fit, chosen at random."""
        sample_bytes = pixels[:1].nbytes + ANSWER_BYTES
        least = 0 if self._waiting else 1  # else a model of larger samples would never be watched
        count = max(least, (MAX_BYTES - self._bytes) // sample_bytes)
        if count < len(pixels):
            self._left_out = True
            chosen = self._random.choice(len(pixels), count, replace=False)  # a request may be in order of its classes
            pixels, predictions = pixels[chosen], [predictions[index] for index in chosen]
        if predictions:
            answers = answers_of([one for one in predictions if isinstance(one, Prediction)])
            self._waiting.append(_Seen(model, pixels, answers))
            self._bytes += len(pixels) * sample_bytes

    async def run(self, slot: ModelSlot) -> None:
        """Looks every PAUSE_S until it is cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(PAUSE_S)
                await asyncio.to_thread(self._look, slot.model)
        finally:
            self._look(slot.model)

    def _look(self, model: ServedModel) -> None:
        """Adds what has come to the records; what prevents it is told once, and does not end the server."""
        with self._lock:  # the last look may come while one is under way
            seen, self._waiting, self._bytes = self._waiting, [], 0
            try:
                self._add(seen)
                watcher = self._watcher_of(model)
                self._show(watcher.standing() if watcher else {})
                if watcher and self._left_out and not self._is_left_out_told:
                    self._is_left_out_told = True
                    self._log(LEFT_OUT)
            except Exception as error:  # noqa: BLE001 - whatever it is, the server answers on
                self._sha256, self._watcher = "", None
                self._tell(f"nothing is watched: {error}")

    def _add(self, seen: list[_Seen]) -> None:
        for number, item in enumerate(seen):
            watcher = self._watcher_of(item.model)
            if watcher:
                watcher.see_answers(item.pixels, item.answers)
                watcher.keep()
            is_last = number + 1 == len(seen) or seen[number + 1].model is not item.model
            for alarm in watcher.save() if watcher and is_last else ():
                self._log(f"alarm: {alarm.sentence}; `inkflow monitor` shows more")

    def _watcher_of(self, model: ServedModel) -> Watcher | None:
        """Returns the watcher of the model; None for one without a reference, which is told."""
        if model.sha256 != self._sha256:
            self._sha256, self._watcher = model.sha256, None
            is_registered = model.version != UNREGISTERED
            registered = {"model_version": model.version, "model_commit": model.commit} if is_registered else {}
            try:
                self._watcher = watched(model.classifier, model.sha256, registered, self._log).watcher
            except InkflowError as error:
                self._tell(str(error))
        return self._watcher

    def _tell(self, message: str) -> None:
        if message != self._told:
            self._log(message)
        self._told = message
