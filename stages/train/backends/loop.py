"""The compiled inner loop: many steps of Keras's own training between two visits of Python.

Each backend has its module with a class `Loop`; Keras decides once, at its import, which one computes.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


class Loop(Protocol):
    """Steps of one compiled network on arrays that the device holds."""

    def hold(self, arrays: Sequence[NDArray[Any]]) -> Sequence[Any]:
        """The arrays on the device: images, targets and, where samples have them, weights."""
        ...

    def train(self, held: Sequence[Any], rows: Rows) -> int | None:
        """Teach the network with one step for each line of `rows` (steps, batch), indices into `held`.

        Returns: the first step, from 0, after which the mean loss is not finite; None when it always was.
        """
        ...

    def test(self, held: Sequence[Any], rows: Rows) -> None:
        """Add these batches to the network's metrics, dropout off."""
        ...


def make_loop(network: Any) -> Loop:
    """The loop of Keras's backend for the compiled `network`."""
    if keras.backend.backend() == "jax":
        from stages.train.backends.jax_loop import JaxLoop  # imports its backend, which need not be installed

        return JaxLoop(network)
    from stages.train.backends.tensorflow_loop import TensorFlowLoop  # the same

    return TensorFlowLoop(network)
