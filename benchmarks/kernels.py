"""What a step of `cnn_best` costs: fused normalisation beside Keras's own, and images bent beside straight ones."""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common import read_params
from benchmarks.support.measure import NO_TARGET, Side, compare
from stages.params.schema import Params
from stages.train.device import choose_precision, load_keras, set_up_device

SAMPLES, SHAPE, CLASSES = 8192, (28, 28, 1), 10
STEPS = 40


def steps(plain: bool = False, **changes: Any) -> Callable[[], float]:
    """Measures some steps of the model with `changes`, taught with or without our faster kernels, in seconds."""
    load_keras()
    # These import Keras: not before it was loaded quietly.
    from stages.train import fit, networks, training_model
    from stages.train.backends.backend import load_backend
    from stages.train.training import DTYPE_POLICIES

    chosen = read_params()
    content = chosen | {"models": {"cnn_best": chosen["more_models"]["cnn_best"] | changes}}
    model = Params.model_validate(content).models["cnn_best"]
    precision = DTYPE_POLICIES[choose_precision(model, set_up_device(model.device, model.threads))]
    network = networks.build(model, SHAPE, CLASSES, precision)
    backend = load_backend()
    with patch.object(backend, "with_fused_kernels", lambda network: network) if plain else nullcontext():
        trained = training_model.build_training_model(network, model)
    fit.compile_network(trained, model, SAMPLES)
    loop, random = backend.make_loop(trained), np.random.default_rng(0)
    arrays = loop.to_device([random.random((SAMPLES, *SHAPE), np.float32), random.integers(0, CLASSES, SAMPLES)])
    rows = random.integers(0, SAMPLES, (STEPS, model.batch_size)).astype(np.int32)

    def taken() -> float:
        started = time.perf_counter()
        loop.train(arrays, rows)
        return time.perf_counter() - started

    return taken


def main() -> None:
    """Each beside what it would be without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    fused, bends = steps(), read_params()["more_models"]["cnn_best"]["augmentation"]
    compare(
        f"{STEPS} steps of cnn_best",
        [Side("fused normalisation", dict, fused), Side("Keras's own", dict, steps(plain=True))],
        given.runs,
        NO_TARGET,
    )
    compare(
        f"{STEPS} steps of cnn_best, images bent",
        [Side("bent", dict, fused), Side("straight", dict, steps(augmentation=bends | {"elastic": 0.0}))],
        given.runs,
        NO_TARGET,
    )


if __name__ == "__main__":
    main()
