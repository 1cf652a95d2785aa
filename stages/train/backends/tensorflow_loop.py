"""The training loop on TensorFlow: one graph that gathers a batch and runs a step, for each batch."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from stages.samples.npy_reader import ALIGNMENT
from stages.train.backends.interface import BatchIndices

Arrays = Sequence[Any]
Step = Callable[[tuple[Any, ...]], dict[str, Any]]


class TensorFlowLoop:
    """Loop of one compiled network; implements `stages.train.backends.interface.Loop`.

    XLA stays off: on a CPU its compilation takes as long as it saves in a few epochs, and convolutions get slower.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._graphs: dict[tuple[str, int], Any] = {}

    def to_device(self, arrays: Sequence[NDArray[Any]]) -> Arrays:
        """Returns `arrays` on the device."""
        on_cpu = not tf.config.get_visible_devices("GPU")
        return tuple(
            _shared_tensor(array) if on_cpu and _can_be_shared(array) else tf.convert_to_tensor(array)
            for array in arrays
        )

    def train(self, arrays: Arrays, indices: BatchIndices) -> int | None:
        """Trains the network; returns the first step after which the mean loss is not finite, if any."""
        bad_step = int(self._run(self._network.train_step, arrays, indices))
        return None if bad_step < 0 else bad_step

    def test(self, arrays: Arrays, indices: BatchIndices) -> None:
        """Adds these batches to the network's metrics."""
        self._run(self._network.test_step, arrays, indices)

    def _run(self, step: Step, arrays: Arrays, indices: BatchIndices) -> Any:
        """Runs the graph for batches of this size, which is built for the first of them."""
        key = step.__name__, indices.shape[1]
        if key not in self._graphs:
            self._graphs[key] = _build_graph(step, arrays, indices.shape[1])
        return self._graphs[key](tuple(arrays), tf.convert_to_tensor(indices))


def _can_be_shared(array: NDArray[Any]) -> bool:
    """Returns whether TensorFlow's kernels can read the array's memory directly."""
    return bool(
        array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable and array.size
    )


def _shared_tensor(array: NDArray[Any]) -> Any:
    """Returns a tensor on the array's own memory, which is never written: saves the time and memory of a copy."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _build_graph(step: Step, arrays: Arrays, size: int) -> Any:
    """Returns a graph that runs `step` for each line of the indices, for such arrays and batches of `size` samples."""
    specs = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in arrays)

    def run_steps(arrays: Arrays, indices: Any) -> Any:
        def run_step(number: Any, bad_step: Any) -> tuple[Any, Any]:
            batch = tuple(tf.gather(array, indices[number]) for array in arrays)
            finite = tf.math.is_finite(step(batch)["loss"])
            return number + 1, tf.where(finite | (bad_step >= 0), bad_step, number)

        count = tf.shape(indices)[0]
        return tf.while_loop(lambda number, _: number < count, run_step, (0, -1))[1]

    # Autograph would first parse all of Keras, without effect.
    graph = tf.function(run_steps, autograph=False)
    return graph.get_concrete_function(specs, tf.TensorSpec((None, size), tf.int32))
