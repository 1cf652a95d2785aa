"""The same training code on each of Keras's backends that is installed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.learning import settings, write_data, write_params


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_each_backend_trains_and_exports(tmp_path: Path, backend: str) -> None:
    """A CNN with dropout and one-cycle learns the patterns, its loss falls, and its export does what it does."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folders = write_data(tmp_path)
    optimizer = {"name": "adam", "learning_rate": 0.02, "schedule": {"name": "one_cycle"}}
    model = settings("cnn", dropout=0.1, optimizer=optimizer, epochs=8, precision="float32")
    given = ["--model", "tried", "--params", str(write_params(tmp_path / "params.yaml", tried=model))]
    places = {"--data": folders.prepared, "--out": tmp_path / "out", "--checkpoints": tmp_path / "saved"}
    done = subprocess.run(
        [sys.executable, "-m", "stages.train", *given, *(str(part) for pair in places.items() for part in pair)],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    assert facts["versions"]["backend"].startswith(f"{backend} ")
    assert facts["validation"]["accuracy"] >= 0.9
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 1000
