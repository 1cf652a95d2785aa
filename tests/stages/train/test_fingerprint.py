"""The key of a checkpoint contains the code that the training imports, and no other code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from stages.train.fingerprint import module_digests
from tests.support.learning import settings, write_data, write_params
from tests.support.root import ROOT

# Trains as `python -m stages.train` does, and prints the modules in the key and those imported in the end.
PROGRAM = """
import json, sys
from stages.train import fingerprint
from stages.train.training import main
inputs = []
original = fingerprint.training_inputs
fingerprint.training_inputs = lambda *arguments: inputs.append(original(*arguments)) or inputs[-1]
assert main(sys.argv[1:]) == 0
imported = sorted(name for name, module in sys.modules.items() if name.partition(".")[0] == "stages")
print(json.dumps({"key": sorted(inputs[0]["code"]), "imported": imported}))
"""


def train(folder: Path, backend: str = "tensorflow", **changes: Any) -> dict[str, list[str]]:
    """Returns the modules in the key of a training in a subprocess, and those that it has imported in the end."""
    folders = write_data(folder)
    params = write_params(folder / "params.yaml", cnn=settings("cnn", epochs=1, **changes))
    arguments = ["--model", "cnn", "--data", folders.prepared, "--out", folder / "out", "--params", params]
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments), "--checkpoints", str(folder / "saved")]
    environment = os.environ | {"KERAS_BACKEND": backend}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    modules: dict[str, list[str]] = json.loads(process.stdout.splitlines()[-1])
    return modules


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param(
            {
                "augmentation": {"rotation": 0.05, "shift": 0.05},
                "test_time_augmentation": {"shift": 0.1},
                "batch_normalisation": True,
                "early_stopping": {"patience": 1},
                "precision": "bfloat16",
                "optimizer": {"name": "sgd", "momentum": 0.9},
            },
            marks=pytest.mark.farm,
        ),
    ],
    ids=["plain", "all options"],
)
@pytest.mark.farm
def test_key_contains_the_imported_modules(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The key contains each module of `stages` that the training imports, and no other."""
    modules = train(tmp_path, **changes)
    assert modules["key"] == modules["imported"]
    assert "stages.train.fit" in modules["key"]
    assert "stages.train.backends.jax_loop" not in modules["key"]


@pytest.mark.farm
def test_key_contains_the_code_of_its_backend(tmp_path: Path) -> None:
    """The key of a training with JAX contains the code of JAX's backend, not that of TensorFlow's."""
    pytest.importorskip("jax")
    modules = train(tmp_path, "jax")
    assert modules["key"] == modules["imported"]
    assert "stages.train.backends.jax_loop" in modules["key"]
    assert "stages.train.backends.tensorflow_loop" not in modules["key"]


def test_an_import_in_a_thread_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules are read at one moment, since a thread imports the exporter meanwhile."""

    class Growing(dict[str, Any]):
        def items(self) -> NoReturn:
            raise RuntimeError("dictionary changed size during iteration")

    expected = module_digests()
    monkeypatch.setattr("stages.train.fingerprint.sys", SimpleNamespace(modules=Growing(sys.modules)))
    assert module_digests() == expected and "stages.train.fingerprint" in expected
