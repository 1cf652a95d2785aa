"""What training asks of the library that computes, TensorFlow or JAX."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


class Gpu(NamedTuple):
    """A GPU that can be used."""

    name: str
    bfloat16: bool  # computes with it natively


class Loop(Protocol):
    """Many steps of Keras's own training between two visits of Python, on arrays that the device holds."""

    def hold(self, arrays: Sequence[NDArray[Any]]) -> Sequence[Any]:
        """The arrays on the device: images, targets and, where samples have them, weights."""
        ...

    def train(self, held: Sequence[Any], rows: Rows) -> int | None:
        """Train the network with one step for each line of `rows` (steps, batch), indices into `held`.

        Returns: the first step, from 0, after which the mean loss is not finite; None when it always was.
        """
        ...

    def test(self, held: Sequence[Any], rows: Rows) -> None:
        """Add these batches to the network's metrics, dropout off."""
        ...


class Backend(Protocol):
    """What training asks of a backend's module."""

    def prepare(self, threads: int | None) -> None:
        """Set all that has to be set before the first computation: threads, float32 that is float32."""

    def first_gpu(self) -> Gpu | None:
        """The first GPU that it sees."""

    def use_gpu(self) -> None:
        """Compute on the first GPU, and let its memory grow."""

    def use_cpu(self) -> None:
        """Compute on the processor."""

    def why_no_gpu(self) -> str:
        """Why it sees no GPU, and what to do."""

    def with_fast_kernels(self, network: Any) -> Any:
        """The same layers and variables, where the backend has faster kernels for training; else the network itself."""

    def make_loop(self, network: Any) -> Loop:
        """The loop of the compiled `network`."""
