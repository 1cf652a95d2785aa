"""The ONNX export in a subprocess with TensorFlow, for trainings on another backend: one exporter for all backends."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stages.base.errors import InkflowError, exit_with
from stages.model.config import Model, ModelBase
from stages.model.custom_code import own_code
from stages.samples.prepared import Prepared
from stages.train.device import load_keras


def save_onnx(keras_file: Path, prepared: Prepared, model: ModelBase, path: Path, doubt: dict[str, Any] | None) -> None:
    """Writes the network in `keras_file`, trained as `model`, as ONNX; `doubt` is that of the network as JSON.

    Raises:
        InkflowError: the export failed.
    """
    inputs = json.dumps(
        {
            "prepared": prepared.model_dump(mode="json"),
            "model": model.model_dump(mode="json", exclude_unset=True),
            "project": str(Path.cwd()),
            "doubt": doubt,
        }
    )
    process = subprocess.run(
        [sys.executable, "-m", __name__, str(keras_file.resolve()), str(path.resolve())],
        input=inputs,
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        reason = (process.stderr.strip() or "no message").splitlines()[-1]
        raise InkflowError(f"the export with TensorFlow failed: {reason}; check that TensorFlow is installed")


def main(argv: Sequence[str] | None = None) -> int:
    """Exports a .keras file as ONNX; standard input has preparation, model and doubt as JSON."""
    parser = argparse.ArgumentParser(prog="python -m stages.train.export.onnx_subprocess", description=main.__doc__)
    parser.add_argument("keras_file", type=Path)
    parser.add_argument("onnx_file", type=Path)
    arguments = parser.parse_args(argv)
    inputs = json.load(sys.stdin)
    model: Model = TypeAdapter(Model).validate_python(inputs["model"])
    prepared = Prepared.model_validate(inputs["prepared"])
    load_keras()
    import keras  # slow, and only quiet after load_keras

    from stages.train.custom.code import load_code
    from stages.train.doubt.measurement import MeasuredDoubt  # imports Keras
    from stages.train.export import model_files

    os.chdir(inputs["project"])  # where the folder `custom` is
    for name in own_code(model):
        load_code(name)  # registers its layers
    doubt = MeasuredDoubt.from_json(inputs["doubt"]) if inputs["doubt"] else None
    model_files.save_onnx(keras.saving.load_model(arguments.keras_file), prepared, model, arguments.onnx_file, doubt)
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
