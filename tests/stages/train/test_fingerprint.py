"""The key of a checkpoint: of the code that the training imports, all of it and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.learning import settings, write_data, write_params
from tests.support.root import ROOT

# Trains as `python -m stages.train` does, and prints the modules in the key and those imported when all is done.
WITNESS = """
import json, sys
from stages.train import fingerprint
from stages.train.training import main
keyed = []
facts = fingerprint.facts
fingerprint.facts = lambda *given: keyed.append(facts(*given)) or keyed[-1]
assert main(sys.argv[1:]) == 0
imported = sorted(name for name, module in sys.modules.items() if name.partition(".")[0] == "stages")
print(json.dumps({"keyed": sorted(keyed[0]["code"]), "imported": imported}))
"""


def train(folder: Path, backend: str = "tensorflow", **changes: Any) -> dict[str, list[str]]:
    """What a training of its own process has in its key, and what it has imported at its end."""
    folders = write_data(folder)
    params = write_params(folder / "params.yaml", cnn=settings("cnn", epochs=1, **changes))
    given = ["--model", "cnn", "--data", folders.prepared, "--out", folder / "out", "--params", params]
    command = [sys.executable, "-c", WITNESS, *map(str, given), "--checkpoints", str(folder / "saved")]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "augmentation": {"rotation": 0.05, "shift": 0.05},
            "test_time_augmentation": {"shift": 0.1},
            "batch_normalisation": True,
            "early_stopping": {"patience": 1},
            "precision": "bfloat16",
            "optimizer": {"name": "sgd", "momentum": 0.9},
        },
    ],
    ids=["plain", "with everything"],
)
def test_the_key_holds_what_a_training_imports(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Each module of `stages` that a training imports is in the key of its checkpoints, and no other module."""
    found = train(tmp_path, **changes)
    assert found["keyed"] == found["imported"]
    assert "stages.train.fit" in found["keyed"]
    assert "stages.train.backends.jax_loop" not in found["keyed"]


def test_the_key_of_another_backend_is_of_its_code(tmp_path: Path) -> None:
    """A training with JAX has the code of its own backend in its key, not that of TensorFlow."""
    pytest.importorskip("jax")
    found = train(tmp_path, "jax")
    assert found["keyed"] == found["imported"]
    assert "stages.train.backends.jax_loop" in found["keyed"]
    assert "stages.train.backends.tensorflow_loop" not in found["keyed"]
