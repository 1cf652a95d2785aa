"""The same training code on each of Keras's backends that is installed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.learning import settings, write_data, write_params
from tests.support.root import ROOT


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_computes_with_the_threads_that_are_recorded() -> None:
    """Whatever device is asked for, JAX's pool has as many threads as the model wants."""
    program = (
        "from pathlib import Path; from stages.train.device import load_keras, set_up_device; load_keras()\n"
        "device = set_up_device(threads=1)\n"
        "import jax.numpy as np; (np.ones((512, 512)) @ np.ones((512, 512))).block_until_ready()\n"
        "names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "print(device.threads, sum(name.startswith('tf_XLAEigen') for name in names))"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "1"], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_each_backend_trains_and_exports(tmp_path: Path, backend: str) -> None:
    """A CNN with all that is random, normalised, with one-cycle, learns the patterns; its exports do what it does."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folders = write_data(tmp_path)
    optimizer = {"name": "adam", "learning_rate": 0.02, "schedule": {"name": "one_cycle"}}
    chosen: dict[str, Any] = {
        "dropout": 0.1,
        "batch_normalisation": True,
        "augmentation": {"shift": 0.02, "elastic": 0.02},
        "test_time_augmentation": {"rotation": 2},
    }
    model = settings("cnn", **chosen, optimizer=optimizer, epochs=8, precision="float32")
    given = ["--model", "tried", "--params", str(write_params(tmp_path / "params.yaml", tried=model))]
    places = {"--data": folders.prepared, "--out": tmp_path / "out", "--checkpoints": tmp_path / "saved"}
    run(backend, "train", *given, *(str(part) for pair in places.items() for part in pair))
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    assert facts["versions"]["backend"].startswith(f"{backend} ")
    assert facts["validation"]["accuracy"] >= 0.9
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 1000
    keras_file, data = tmp_path / "out" / "model.keras", str(folders.prepared)
    run(backend, "export.command", str(keras_file), "--format", "litert", "--data", data)
    assert keras_file.with_name("model.tflite").exists()


def run(backend: str, stage: str, *given: str) -> None:
    """A program of `stages`, which must end well."""
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *given],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
