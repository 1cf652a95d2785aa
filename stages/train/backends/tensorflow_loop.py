"""The inner loop on TensorFlow: one graph that gathers a batch and steps, again and again."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from stages.samples.npy_reader import ALIGNMENT

Held = Sequence[Any]
Step = Callable[[tuple[Any, ...]], dict[str, Any]]


class TensorFlowLoop:
    """Steps of one compiled network; see stages.train.backends.interface.Loop.

    XLA stays off: on a CPU it takes as long to compile as it saves in a few epochs, and convolutions get slower.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._graphs: dict[Any, Any] = {}

    def hold(self, arrays: Sequence[NDArray[Any]]) -> Held:
        """The arrays on the device."""
        on_cpu = not tf.config.get_visible_devices("GPU")
        return tuple(
            _shared(array) if on_cpu and _can_be_shared(array) else tf.convert_to_tensor(array) for array in arrays
        )

    def train(self, held: Held, rows: NDArray[np.int32]) -> int | None:
        """Teach the network; the first step after which the mean loss is not finite."""
        bad = int(self._run(self._network.train_step, held, rows))
        return None if bad < 0 else bad

    def test(self, held: Held, rows: NDArray[np.int32]) -> None:
        """Add these batches to the network's metrics."""
        self._run(self._network.test_step, held, rows)

    def _run(self, step: Step, held: Held, rows: NDArray[np.int32]) -> Any:
        """Run the graph for batches of this size; it is made when they first come."""
        kind = step.__name__, rows.shape[1]
        if kind not in self._graphs:
            self._graphs[kind] = _looped(step, held, rows.shape[1])
        return self._graphs[kind](tuple(held), tf.convert_to_tensor(rows))


def _can_be_shared(array: NDArray[Any]) -> bool:
    """Whether TensorFlow's kernels can read this memory as it lies."""
    return bool(
        array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable and array.size
    )


def _shared(array: NDArray[Any]) -> Any:
    """A tensor on the array's own memory, which nobody writes to: the time and the room of a copy are saved."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _looped(step: Step, held: Held, size: int) -> Any:
    """`step` for each line of the rows, as one graph for so many arrays and this size of a batch."""
    arrays = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in held)

    def steps(held: Held, rows: Any) -> Any:
        def body(number: Any, bad: Any) -> tuple[Any, Any]:
            batch = tuple(tf.gather(array, rows[number]) for array in held)
            fine = tf.math.is_finite(step(batch)["loss"])
            return number + 1, tf.where(fine | (bad >= 0), bad, number)

        count = tf.shape(rows)[0]
        return tf.while_loop(lambda number, _: number < count, body, (0, -1))[1]

    signature = arrays, tf.TensorSpec((None, size), tf.int32)
    # Without autograph, which would read all of Keras first, for nothing.
    return tf.function(steps, autograph=False).get_concrete_function(*signature)
