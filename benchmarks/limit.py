"""How near a step of `cnn` is to the limit of its kernels: TensorFlow's convolutions and matrix products alone.

The limit program runs the step's convolutions and matrix products, forward and backward, on the same shapes and types
in one graph. It has no bias, activation, pooling, loss, metric or optimizer. Each measurement has wall time and, less
disturbed by other load, processor time.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.common import read_params, report
from stages.params.schema import Params
from stages.train.device import choose_precision, load_keras, set_up_device

SAMPLES, SHAPE, CLASSES = 8192, (28, 28, 1), 10
STEPS = 200
MODEL = "cnn"


class Seconds(NamedTuple):
    """Wall time and processor time of STEPS steps."""

    wall: float
    processor: float


def timed(work: Callable[[], object]) -> Seconds:
    """Runs `work` once."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def training(precision: str, late_relu: bool = True) -> Callable[[], object]:
    """STEPS steps of the model; `late_relu=False`: with ReLU where the network has it, before the pooling."""
    from stages.train import fit, networks, training_model  # these import Keras: not before it was loaded quietly
    from stages.train.backends import late_relu as late
    from stages.train.backends import tensorflow_backend
    from stages.train.training import DTYPE_POLICIES

    model = Params.model_validate(read_params()).models[MODEL]
    network = networks.build(model, SHAPE, CLASSES, DTYPE_POLICIES[precision])
    with patch(f"{tensorflow_backend.__name__}.with_late_relu", late.with_late_relu if late_relu else lambda it: it):
        trained = training_model.build_training_model(network, model)
    fit.compile_network(trained, model, SAMPLES)
    loop, random = tensorflow_backend.make_loop(trained), np.random.default_rng(0)
    arrays = loop.to_device(
        [random.random((SAMPLES, *SHAPE), np.float32), random.integers(0, CLASSES, SAMPLES).astype(np.int32)]
    )
    rows = random.integers(0, SAMPLES, (STEPS, model.batch_size)).astype(np.int32)
    return lambda: loop.train(arrays, rows)


def kernels(precision: str) -> Callable[[], object]:
    """The convolutions and matrix products of STEPS steps; a kernel of each layer differs from step to step."""
    import tensorflow as tf  # loaded quietly before

    model: Any = Params.model_validate(read_params()).models[MODEL]
    size, (first, second), units = model.batch_size, model.filters, model.units[0]

    def values(*shape: int) -> Any:
        return tf.cast(tf.random.stateless_uniform(shape, (0, 1), -0.1, 0.1), precision)

    images, features, flat, hidden = values(size, 28, 28, 1), values(size, 13, 13, first), 5 * 5 * second, units
    vectors, codes = values(size, flat), values(size, hidden)
    weights = [values(2, *shape) for shape in ((3, 3, 1, first), (3, 3, first, second), (flat, hidden))]
    last = tf.cast(values(2, hidden, CLASSES), "float32")  # the last layer computes in float32

    def convolve(inputs: Any, kernel: Any, *, is_first: bool) -> list[Any]:
        outputs = tf.nn.conv2d(inputs, kernel, 1, "VALID")
        of_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=inputs, filter_sizes=kernel.shape, out_backprop=outputs, strides=[1] * 4, padding="VALID"
        )
        if is_first:  # nothing lies below it
            return [of_kernel]
        return [of_kernel, tf.nn.conv2d_transpose(outputs, kernel, inputs.shape, 1, "VALID")]

    def multiply(inputs: Any, kernel: Any) -> list[Any]:
        outputs = tf.matmul(inputs, kernel)
        return [tf.matmul(inputs, outputs, transpose_a=True), tf.matmul(outputs, kernel, transpose_b=True)]

    def run() -> Any:
        def step(number: Any, total: Any) -> tuple[Any, Any]:
            one, two, three = (tf.gather(kernel, number % 2) for kernel in weights)
            products = [
                *convolve(images, one, is_first=True),
                *convolve(features, two, is_first=False),
                *multiply(vectors, three),
                *multiply(tf.cast(codes, "float32"), tf.gather(last, number % 2)),
            ]
            used = [tf.cast(tf.reshape(product, [-1])[0], "float32") for product in products]
            return number + 1, total + tf.add_n(used)

        return tf.while_loop(lambda number, _: number < STEPS, step, (0, 0.0))[1]

    graph = tf.function(run, autograph=False)
    return lambda: graph().numpy()


def main() -> None:
    """All in turn: the training, the training with ReLU before the pooling, and the kernels alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    load_keras()
    model = Params.model_validate(read_params()).models[MODEL]
    precision = choose_precision(model, set_up_device(model.device, model.threads))
    sides = {"ours": training(precision), "early": training(precision, late_relu=False), "limit": kernels(precision)}
    for work in sides.values():
        work()  # builds the graph
    runs = [{name: timed(work) for name, work in sides.items()} for _ in range(given.runs)]
    for name, other, target in (
        ("ours", "limit", "ratio at most 1.5"),
        ("ours", "early", "below 1; the same bits"),
    ):
        words = {"limit": "its kernels alone", "early": "the same, ReLU before the pooling"}[other]
        report(
            f"{STEPS} steps of {MODEL} in {precision}",
            target,
            seconds={f"{MODEL}": round(median(run[name].wall for run in runs), 3),
                     words: round(median(run[other].wall for run in runs), 3)},
            ratio=round(median(run[name].wall / run[other].wall for run in runs), 3),
            ratio_of_processor_times=round(median(run[name].processor / run[other].processor for run in runs), 3),
            ratio_of_least_processor_times=round(
                min(run[name].processor for run in runs) / min(run[other].processor for run in runs), 3
            ),
            runs=given.runs,
        )  # fmt: skip


if __name__ == "__main__":
    main()
