"""Trains one model on the training part and writes the model, its history and a summary.

data/prepared (training and validation parts) -> model.keras  model.onnx  history.csv  training.json
                                               -> validation.json  seeds
"""

import argparse
import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from stages.base import timings
from stages.base.config import load_section
from stages.base.errors import InvalidInput, OutputError
from stages.model.config import Model
from stages.model.export_formats import older_exports
from stages.model.feasibility import feasibility_errors, validation_errors
from stages.samples.prepared import TrainingData, load_into_memory, read_training_data
from stages.train import fingerprint
from stages.train.checkpoints import DEFAULT_FOLDER, remove_old
from stages.train.custom.code import own_errors
from stages.train.device import choose_precision, load_keras, set_up_device
from stages.train.live_history import live_history

DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names


def train(name: str, model: Model, folder: Path, out: Path, checkpoints: Path = DEFAULT_FOLDER) -> None:
    """Trains `model`, called `name`, on the data in `folder` and writes all outputs to the folder `out`, or none.

    An interrupted training resumes from its checkpoint in the folder `checkpoints`. A model with `seeds` is trained
    once for each of them.

    Raises:
        DataError: a file of the data is missing or invalid.
        InvalidInput: the model does not fit the images, or its loss is not finite.
        DeviceMissing: the model needs a GPU, and none can be used.
        InkflowError: the exported model differs from the trained one.
        OutputError: a folder is full, read-only, or not a folder.
    """
    data = read_training_data(folder)
    check_fits(name, model, data)
    check_writable(out)
    data, digests = _load_keras_and_data(folder, data)
    with own_errors(name, model):
        _train(name, model, data, digests, out, checkpoints)
    for warning in older_exports(out):
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _train(name: str, model: Model, data: TrainingData, digests: dict[str, str], out: Path, checkpoints: Path) -> None:
    """Trains `model` on `data`, from files with the `digests`, as `train` does."""
    from stages.train import outputs  # import Keras, which is slow: after the checks
    from stages.train.seeds.all_seeds import train_seeds
    from stages.train.single_training import Trainings

    device = set_up_device(model.device, model.threads)
    precision = choose_precision(model, device)
    remove_old(checkpoints)
    threading.Thread(target=_import_exporter, daemon=True).start()  # while the fit computes
    with live_history(out, outputs.history_columns(model)) as show:
        policy = DTYPE_POLICIES[precision]
        trainings = Trainings(name, data, digests, device, precision, policy, checkpoints, [show])
        if model.seeds is not None:
            train_seeds(trainings, model, out)
            return
        trained = trainings.train(model, out)
        outputs.write_validation(out, trained.summary["validation"])
        outputs.write_seeds(out, {})
    timings.record("train", name, out / "model.onnx", {"fit_s": trained.fit_s})
    trained.checkpoint_file.remove()


def _load_keras_and_data(folder: Path, data: TrainingData) -> tuple[TrainingData, dict[str, str]]:
    """Imports Keras; in parallel reads the images that fit into memory and the digests of the files in `folder`."""
    with ThreadPoolExecutor(1) as reader:
        digests = reader.submit(fingerprint.file_digests, folder)
        images = reader.submit(load_into_memory, data)
        load_keras()
        return images.result(), digests.result()


def _import_exporter() -> None:
    """Imports what the export needs, unless another process will export."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        with suppress(ImportError):  # the export reports it
            importlib.import_module("tf2onnx.convert")


def check_fits(name: str, model: Model, data: TrainingData) -> None:
    """Checks that the model can be trained on `data`.

    Raises:
        InvalidInput: the samples are of another kind or too small, or a parameter does not fit the classes or parts.
    """
    prepared = data.prepared
    mistakes = feasibility_errors(model, prepared.shape[:2], prepared.classes, prepared.kind)
    if mistakes := mistakes + ([] if len(data.validation.labels) else validation_errors(model)):
        raise InvalidInput("; ".join(f"models.{name}: {mistake}" for mistake in mistakes))


def check_writable(out: Path) -> None:
    """Checks that files can be written to the folder `out`, before a training that may take hours.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OutputError(out, error) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one model of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=main.__doc__)
    parser.add_argument("--model", required=True, help="a name under `models` in params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="folder with the outputs of the prepare stage")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--checkpoints", type=Path, default=DEFAULT_FOLDER, help=f"folder of checkpoints; default: {DEFAULT_FOLDER}"
    )
    parser.add_argument("--params", default="params.yaml", help="default: params.yaml")
    arguments = parser.parse_args(argv)
    model: Model = load_section(arguments.params, ["models", arguments.model], Model)
    train(arguments.model, model, arguments.data, arguments.out, arguments.checkpoints)
    return 0
