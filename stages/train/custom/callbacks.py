"""Keras callbacks of the project's folder `custom`, called by our training loop at the ends of epochs.

The loop runs many steps in one graph, so nothing can be called at a batch: such callbacks are refused.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from stages.base.errors import InvalidInput
from stages.train.custom.code import load_code

SUPPORTED = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end")
HOOKS = tuple(name for name in vars(keras.callbacks.Callback) if name.startswith("on_"))


class Callbacks:
    """The callbacks of one training; none is the usual case."""

    def __init__(self, names: Sequence[str], network: Any, epochs: int, steps: int) -> None:
        self._callbacks, self._network = [_make(name) for name in names], network
        network.stop_training = False
        for callback in self._callbacks:
            callback.set_params({"epochs": epochs, "steps": steps, "verbose": 0})
            callback.set_model(network)

    @property
    def stopped(self) -> bool:
        """Whether a callback has set `model.stop_training`."""
        return bool(self._network.stop_training)

    def train_begin(self) -> None:
        """Calls `on_train_begin` of each callback."""
        for callback in self._callbacks:
            callback.on_train_begin({})

    def epoch_begin(self, epoch: int) -> None:
        """Calls `on_epoch_begin` of each callback; `epoch` counts from 0, as in Keras."""
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch, {})

    def epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Calls `on_epoch_end` of each callback with the line of history.csv."""
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, dict(logs))

    def train_end(self, logs: Mapping[str, float]) -> None:
        """Calls `on_train_end` of each callback with the last line of history.csv."""
        for callback in self._callbacks:
            callback.on_train_end(dict(logs))


def _make(name: str) -> Any:
    code = load_code(name)
    callback = code() if callable(code) else copy.deepcopy(code)  # not shared between seeds
    if not isinstance(callback, keras.callbacks.Callback):
        raise InvalidInput(
            f"`callbacks: {name}` gives a {type(callback).__name__}, expected a keras.callbacks.Callback, or a "
            "function that returns one"
        )
    used = [hook for hook in HOOKS if hook not in SUPPORTED and _overrides(callback, hook)]
    if used:
        raise InvalidInput(
            f"`callbacks: {name}` has {used[0]}, which is never called: many batches are one program here; use "
            f"{', '.join(SUPPORTED[:-1])} or {SUPPORTED[-1]}"
        )
    return callback


def _overrides(callback: Any, hook: str) -> bool:
    return hook in vars(callback) or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
