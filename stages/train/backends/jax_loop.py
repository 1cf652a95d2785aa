"""The training loop on JAX: one compiled program that scans over the batches."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from stages.train.backends.interface import BatchIndices

Arrays = Sequence[Any]
State = tuple[list[Any], ...]


class JaxLoop:
    """Loop of one compiled network; implements `stages.train.backends.interface.Loop`."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._built = False
        self._train = _scan(network.train_step)
        self._test = _scan(network.test_step)

    def to_device(self, arrays: Sequence[NDArray[Any]]) -> Arrays:
        """Returns `arrays` on the device."""
        return [jax.device_put(array) for array in arrays]

    def train(self, arrays: Arrays, indices: BatchIndices) -> int | None:
        """Trains the network; returns the first step after which the mean loss is not finite, if any."""
        network = self._network
        self._build(arrays)
        weights = network.trainable_variables, network.non_trainable_variables
        groups = (*weights, network.optimizer.variables, network.metrics_variables)
        losses = self._run(self._train, groups, arrays, indices)
        bad_steps = np.flatnonzero(~np.isfinite(losses))
        return int(bad_steps[0]) if len(bad_steps) else None

    def test(self, arrays: Arrays, indices: BatchIndices) -> None:
        """Adds these batches to the network's metrics."""
        network = self._network
        self._build(arrays)
        groups = (network.trainable_variables, network.non_trainable_variables, network.metrics_variables)
        self._run(self._test, groups, arrays, indices)

    def _build(self, arrays: Arrays) -> None:
        """Makes Keras create the variables of the metrics, which it does on the first batch."""
        if self._built:
            return
        images, targets = (array[:1] for array in arrays[:2])
        outputs = self._network(images)
        self._network.compute_loss(images, targets, outputs)
        self._network.compute_metrics(images, targets, outputs)
        self._network.reset_metrics()
        self._built = True

    def _run(self, program: Any, groups: tuple[Sequence[Any], ...], arrays: Arrays, indices: BatchIndices) -> Any:
        """Runs `program`, updates the variables in `groups`, and returns the mean loss after each step (steps,)."""
        before = tuple([variable.value for variable in group] for group in groups)
        after, losses = program(before, tuple(arrays), indices)
        for group, values in zip(groups, after, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return np.asarray(losses)


def _scan(step: Callable[[State, Any], tuple[Any, State]]) -> Any:
    """Returns a program that runs `step` for each line of the indices; it is compiled once for each shape."""

    def run_steps(state: State, arrays: tuple[Any, ...], indices: Any) -> Any:
        def run_step(state: State, batch: Any) -> tuple[State, Any]:
            logs, state = step(state, tuple(array[batch] for array in arrays))
            return tuple(list(group) for group in state), logs["loss"]

        return jax.lax.scan(run_step, state, indices)

    return jax.jit(run_steps)
