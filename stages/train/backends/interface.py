"""Interface of a backend, TensorFlow or JAX."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

BatchIndices = NDArray[np.int32]


class Gpu(NamedTuple):
    """A GPU that the backend can use."""

    name: str
    bfloat16: bool  # supported natively


class Loop(Protocol):
    """Runs many of Keras's training steps on arrays on the device, without returning to Python in between."""

    def to_device(self, arrays: Sequence[NDArray[Any]]) -> Sequence[Any]:
        """Returns `arrays` on the device: images, targets and, optionally, sample weights."""
        ...

    def train(self, arrays: Sequence[Any], indices: BatchIndices) -> int | None:
        """Trains the network with one step per line of `indices` (steps, batch), indices into `arrays`.

        Returns:
            The first step, from 0, after which the mean loss is not finite, or None if there is none.
        """
        ...

    def test(self, arrays: Sequence[Any], indices: BatchIndices) -> None:
        """Adds these batches to the network's metrics, without dropout."""
        ...


class Backend(Protocol):
    """Functions of a backend's module."""

    def configure(self, threads: int | None) -> None:
        """Applies all settings needed before the first computation: threads, full float32 precision."""

    def first_gpu(self) -> Gpu | None:
        """Returns the first visible GPU."""

    def use_gpu(self) -> None:
        """Computes on the first GPU, with memory growth."""

    def use_cpu(self) -> None:
        """Computes on the CPU."""

    def explain_missing_gpu(self) -> str:
        """Returns why no GPU is visible, and what to do."""

    def with_fused_kernels(self, network: Any) -> Any:
        """Returns the same layers and variables with faster kernels for training, or the network itself."""

    def make_loop(self, network: Any) -> Loop:
        """Returns the loop of the compiled `network`."""
