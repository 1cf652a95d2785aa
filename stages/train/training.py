"""Trains one model on the training part and writes the model, its history and a summary.

data/prepared (training and validation parts) -> model.keras  model.onnx  history.csv  training.json
"""

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stages.base import timings
from stages.base.config import load_section
from stages.base.errors import InvalidInput, OutputError
from stages.model.config import Model
from stages.model.feasibility import feasibility_errors
from stages.samples.prepared import TrainingData, load_into_memory, read_training_data
from stages.train import fingerprint
from stages.train.checkpoints import DEFAULT_FOLDER, CheckpointFile, checkpoint_key, remove_old
from stages.train.device import choose_precision, load_keras, set_up_device

DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names


def train(name: str, model: Model, folder: Path, out: Path, checkpoints: Path = DEFAULT_FOLDER) -> None:
    """Trains `model`, called `name`, on the data in `folder` and writes all outputs to the folder `out`, or none.

    An interrupted training resumes from its checkpoint in the folder `checkpoints`.

    Raises:
        DataError: a file of the data is missing or invalid.
        InvalidInput: the model does not fit the images, or its loss is not finite.
        DeviceMissing: the model needs a GPU, and none can be used.
        InkflowError: the exported model differs from the trained one.
        OutputError: a folder is full, read-only, or not a folder.
    """
    data = read_training_data(folder)
    check_fits(name, model, data.prepared.shape, data.prepared.classes)
    check_writable(out)
    data, digests = _load_keras_and_data(folder, data)
    from stages.train import fit, networks, outputs, training_model  # import Keras, which is slow: after the checks
    from stages.train.doubt import measurement

    device = set_up_device(model.device, model.threads)
    precision = choose_precision(model, device)
    print(f"{name}: training on {device} in {precision}", flush=True)
    network = networks.build(model, data.prepared.shape, data.prepared.classes, DTYPE_POLICIES[precision])
    trained = training_model.build_training_model(network, model)  # with the same weights as `network`
    fit.compile_network(trained, model, len(data.train.labels))
    inputs = fingerprint.training_inputs(name, model, digests, device, precision)
    checkpoint_file = CheckpointFile(checkpoints, name, checkpoint_key(inputs))
    remove_old(checkpoints)
    history, fit_s = fit.fit(trained, data, name, model, checkpoint_file)
    print(f"{name}: fitted in {fit_s:.1f} s", flush=True)
    exported = outputs.inference_network(network, model, data, precision)
    doubt = measurement.measure_doubt(exported, model, data)
    summary = outputs.training_summary(exported, name, model, data, device, precision, history, doubt)
    outputs.write_outputs(exported, model, data, history, summary, out, doubt)
    timings.record("train", name, out / "model.onnx", {"fit_s": fit_s})
    checkpoint_file.remove()


def _load_keras_and_data(folder: Path, data: TrainingData) -> tuple[TrainingData, dict[str, str]]:
    """Imports Keras; in parallel reads the images that fit into memory and the digests of the files in `folder`."""
    with ThreadPoolExecutor(1) as reader:
        digests = reader.submit(fingerprint.file_digests, folder)
        images = reader.submit(load_into_memory, data)
        load_keras()
        return images.result(), digests.result()


def check_fits(name: str, model: Model, shape: Sequence[int], classes: int) -> None:
    """Checks that the model can be trained on images (h, w, c) of `classes` classes.

    Raises:
        InvalidInput: the images are too small for the network, or a parameter does not fit the classes.
    """
    if mistakes := feasibility_errors(model, shape[:2], classes):
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
