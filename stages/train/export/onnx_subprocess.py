"""The ONNX export in a process of its own with TensorFlow, where another backend trained: one exporter for all."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from stages.base.errors import InkflowError, exit_with
from stages.model.config import Model, ModelBase
from stages.samples.prepared import Prepared
from stages.train.device import load_keras


def save_onnx(keras_file: Path, prepared: Prepared, model: ModelBase, path: Path) -> None:
    """Write the network in `keras_file`, trained as `model` says, as ONNX.

    Raises:
        InkflowError: the export failed.
    """
    facts = json.dumps(
        {"prepared": prepared.model_dump(mode="json"), "model": model.model_dump(mode="json", exclude_unset=True)}
    )
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(keras_file.resolve()), str(path.resolve())],
        input=facts,
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise InkflowError(f"the export with TensorFlow failed: {last}; is TensorFlow installed here?")


def main(argv: Sequence[str] | None = None) -> int:
    """Export a .keras file as ONNX; standard input holds what was prepared and the model, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m stages.train.export.onnx_subprocess", description=main.__doc__)
    parser.add_argument("keras_file", type=Path)
    parser.add_argument("onnx_file", type=Path)
    given = parser.parse_args(argv)
    facts = json.load(sys.stdin)
    load_keras()
    import keras  # slow: after what can be refused at once

    from stages.train.export import model_files

    model: Model = TypeAdapter(Model).validate_python(facts["model"])
    prepared = Prepared.model_validate_json(json.dumps(facts["prepared"]))
    model_files.save_onnx(keras.saving.load_model(given.keras_file), prepared, model, given.onnx_file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
