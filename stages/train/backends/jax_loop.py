"""The inner loop on JAX: one program that scans over the batches."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

Held = Sequence[Any]
State = tuple[list[Any], ...]


class JaxLoop:
    """Steps of one compiled network; see stages.train.backends.interface.Loop."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._built = False
        self._train = _scanned(network.train_step)
        self._test = _scanned(network.test_step)

    def hold(self, arrays: Sequence[NDArray[Any]]) -> Held:
        """The arrays on the device."""
        return [jax.device_put(array) for array in arrays]

    def train(self, held: Held, rows: NDArray[np.int32]) -> int | None:
        """Teach the network; the first step after which the mean loss is not finite."""
        network = self._network
        self._build(held)
        weights = network.trainable_variables, network.non_trainable_variables
        losses = self._run(self._train, (*weights, network.optimizer.variables, network.metrics_variables), held, rows)
        bad = np.flatnonzero(~np.isfinite(losses))
        return int(bad[0]) if len(bad) else None

    def test(self, held: Held, rows: NDArray[np.int32]) -> None:
        """Add these batches to the network's metrics."""
        network = self._network
        self._build(held)
        groups = (network.trainable_variables, network.non_trainable_variables, network.metrics_variables)
        self._run(self._test, groups, held, rows)

    def _build(self, held: Held) -> None:
        """Have Keras make the variables of the metrics, which it does when they first see a batch."""
        if self._built:
            return
        images, targets = (array[:1] for array in held[:2])
        answers = self._network(images)
        self._network.compute_loss(images, targets, answers)
        self._network.compute_metrics(images, targets, answers)
        self._network.reset_metrics()
        self._built = True

    def _run(self, program: Any, groups: tuple[Sequence[Any], ...], held: Held, rows: NDArray[np.int32]) -> Any:
        """Mean loss after each step (steps,); the variables get their new values."""
        before = tuple([variable.value for variable in group] for group in groups)
        after, losses = program(before, tuple(held), rows)
        for group, values in zip(groups, after, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return np.asarray(losses)


def _scanned(step: Callable[[State, Any], tuple[Any, State]]) -> Any:
    """`step` for each line of the rows, compiled once for each shape."""

    def steps(state: State, held: tuple[Any, ...], rows: Any) -> Any:
        def one(state: State, indices: Any) -> tuple[State, Any]:
            logs, state = step(state, tuple(array[indices] for array in held))
            return tuple(list(group) for group in state), logs["loss"]

        return jax.lax.scan(one, state, rows)

    return jax.jit(steps)
