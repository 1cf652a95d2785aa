"""Training on a GPU with JAX: epoch times of all systems, and `cnn_fast` to 0.9905, with plain scripts beside them.

    KERAS_BACKEND=jax python -m benchmarks.gpu --mnist mnist.npz

Needs keras, jax, numpy, pydantic, ruamel.yaml and rich: no TensorFlow, nothing that exports.
"""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common

os.environ.setdefault("KERAS_BACKEND", "jax")
HELD_OUT = 6000
ACCURACY = 0.9905


def read(mnist: Path) -> tuple[Any, Any]:
    """Training data as prepare makes it, but for the choice of the held-out samples, and the test part."""
    from stages.samples.pixels import Crop
    from stages.samples.prepared import Part, Prepared, TrainingData

    with np.load(mnist) as arrays:
        parts = {
            name: Part((arrays[f"x_{name}"] / np.float32(255))[..., None], arrays[f"y_{name}"].astype(np.int64))
            for name in ("train", "test")
        }
    whole = parts["train"]
    train, held = (Part(whole.images[rows], whole.labels[rows]) for rows in (slice(HELD_OUT, None), slice(HELD_OUT)))
    facts = {"classes": 10, "raw_shape": (28, 28), "shape": (28, 28, 1), "crop": Crop(), "offset": 0.0, "scale": 255.0}
    return TrainingData(Prepared.model_validate(facts), train, held), parts["test"]


def train(name: str, model: Any, data: Any, test: Any, device: Any) -> dict[str, float]:
    """Seconds of a first fit, compilation included, of a second one, and the accuracy on the test part."""
    from stages.train import fit, networks
    from stages.train.device import choose_precision
    from stages.train.training import DTYPE_POLICIES

    seconds = []
    for _ in range(2):  # the second finds XLA's programs in its cache
        network = networks.build(model, (28, 28, 1), 10, DTYPE_POLICIES[choose_precision(model, device)])
        fit.compile_network(network, model, len(data.train.labels))
        start = time.perf_counter()
        fit.fit(network, data, name, model)
        seconds.append(time.perf_counter() - start)
    accuracy = fit.score(network, test, model, 10)["accuracy"]
    return {
        "fit_s": seconds[0],
        "again_s": seconds[1],
        "epoch_s": seconds[1] / model.epochs,
        "test_accuracy": accuracy,
    }


def _keep_programs(folder: Path) -> None:
    """Let JAX find again what it compiled before: a second fit then shows the speed without compilation."""
    import jax  # only where it is the backend

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def main() -> None:
    """All models of params.yaml, one line each."""
    parser = common.parser(__doc__)
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain scripts")
    given = parser.parse_args()
    from stages.train.device import load_keras, set_up_device  # after the backend is set

    load_keras()
    from stages.params.schema import load_params

    device = set_up_device()
    _keep_programs(given.work / "xla")
    data, test = read(given.mnist)
    for name, model in load_params(common.ROOT / "params.yaml").models.items():
        ours = train(name, model, data, test, device)
        plain = None
        if not given.no_plain and name in common.SYSTEMS:
            run = common.plain(name, given.mnist)
            plain = {"fit_s": run.fit_s, "epoch_s": run.fit_s / model.epochs, "test_accuracy": run.accuracy}
        target = f"cnn_fast: test accuracy {ACCURACY} in less than 0.76 s" if name == "cnn_fast" else ""
        common.report(f"gpu: {name}", target, device=str(device), ours=ours, plain=plain)


if __name__ == "__main__":
    main()
