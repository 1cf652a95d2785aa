"""Backends: the same training code on each of Keras's backends that is installed."""

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


@pytest.mark.farm
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_uses_the_recorded_number_of_threads() -> None:
    """JAX's thread pool has the model's number of threads."""
    program = (
        "from pathlib import Path; from stages.train.device import load_keras, set_up_device; load_keras()\n"
        "device = set_up_device(threads=1)\n"
        "import jax.numpy as np; (np.ones((512, 512)) @ np.ones((512, 512))).block_until_ready()\n"
        "names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "print(device.threads, sum(name.startswith('tf_XLAEigen') for name in names))"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.stdout.split() == ["1", "1"], process.stderr


@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_each_backend_trains_and_exports(tmp_path: Path, backend: str) -> None:
    """A CNN with every random option, batch normalisation and one-cycle learns the patterns and is exported."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folders = write_data(tmp_path)
    optimizer = {"name": "adam", "learning_rate": 0.02, "schedule": {"name": "one_cycle"}}
    features: dict[str, Any] = {
        "dropout": 0.1,
        "batch_normalisation": True,
        "augmentation": {"shift": 0.02, "elastic": 0.02},
        "test_time_augmentation": {"rotation": 2},
    }
    model = settings("cnn", **features, optimizer=optimizer, epochs=8, precision="float32")
    options = {
        "--params": write_params(tmp_path / "params.yaml", tried=model),
        "--data": folders.prepared,
        "--out": tmp_path / "out",
        "--checkpoints": tmp_path / "checkpoints",
    }
    run(backend, "train", "--model", "tried", *(str(part) for option in options.items() for part in option))
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    assert facts["versions"]["backend"].startswith(f"{backend} ")
    assert facts["validation"]["accuracy"] >= 0.9
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 1000
    keras_file, data = tmp_path / "out" / "model.keras", str(folders.prepared)
    run(backend, "export", str(keras_file), "--format", "litert", "--data", data)
    assert keras_file.with_name("model.tflite").exists()


def run(backend: str, stage: str, *arguments: str) -> None:
    """Runs a program of `stages`, which must succeed."""
    process = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *arguments],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
