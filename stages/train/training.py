"""Train one model on the training part, and write what ships and how it went.

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
from stages.model.feasibility import misfits
from stages.samples.prepared import TrainingData, in_memory, read_training_data
from stages.train import fingerprint
from stages.train.checkpoints import FOLDER, Checkpoints, key_of, remove_old
from stages.train.device import choose_precision, load_keras, set_up_device

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names


def train(name: str, model: Model, folder: Path, out: Path, saved: Path = FOLDER) -> None:
    """Train `model`, called `name`, on the data in `folder` and write all outputs to the folder `out`, or none.

    A training that was cut off goes on from its checkpoint in the folder `saved`.

    Raises:
        DataError: a file of the data is missing or not what it should be.
        InvalidInput: the model does not fit the images, or its loss is not finite any more.
        DeviceMissing: a GPU is asked for where none can be used.
        InkflowError: the exported model does not do what the trained one does.
        OutputError: a folder is full, read-only, or not a folder.
    """
    data = read_training_data(folder)
    check_fits(name, model, data.prepared.shape, data.prepared.classes)
    check_writable(out)
    data, digests = _load_beside_keras(folder, data)
    from stages.train import fit, networks, outputs, training_model  # import Keras: not before the input is checked

    device = set_up_device(model.device, model.threads)
    precision = choose_precision(model, device)
    print(f"{name}: training on {device} in {precision}", flush=True)
    network = networks.build(model, data.prepared.shape, data.prepared.classes, POLICIES[precision])
    learner = training_model.training_network(network, model)  # the same weights
    fit.compile_network(learner, model, len(data.train.labels))
    checkpoints = Checkpoints(saved, name, key_of(fingerprint.facts(name, model, digests, device, precision)))
    remove_old(saved)
    history, fit_s = fit.fit(learner, data, name, model, checkpoints)
    print(f"{name}: fitted in {fit_s:.1f} s", flush=True)
    shipped = outputs.shipped_network(network, model, data, precision)
    facts = outputs.record(shipped, name, model, data, device, precision, history)
    outputs.write(shipped, model, data, history, facts, out)
    timings.record("train", name, out / "model.onnx", {"fit_s": fit_s})
    checkpoints.remove()


def _load_beside_keras(folder: Path, data: TrainingData) -> tuple[TrainingData, dict[str, str]]:
    """Import Keras, and meanwhile read the images that fit into memory and the digests of the files in `folder`."""
    with ThreadPoolExecutor(1) as beside:
        digests = beside.submit(fingerprint.digests, folder)
        images = beside.submit(in_memory, data)
        load_keras()
        return images.result(), digests.result()


def check_fits(name: str, model: Model, shape: Sequence[int], classes: int) -> None:
    """See that the model can be trained on images (h, w, c) of so many classes.

    Raises:
        InvalidInput: nothing would be left of an image, or a label is not there.
    """
    if mistakes := misfits(model, shape[:2], classes):
        raise InvalidInput("; ".join(f"models.{name}: {mistake}" for mistake in mistakes))


def check_writable(out: Path) -> None:
    """See that files can be written to the folder `out`, before hours are spent on what goes there.

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
    """Train one model of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=main.__doc__)
    parser.add_argument("--model", required=True, help="a name under `models` in params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="what the prepare stage wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--checkpoints", type=Path, default=FOLDER, help=f"where a training stands; default: {FOLDER}")
    parser.add_argument("--params", default="params.yaml", help="default: params.yaml")
    given = parser.parse_args(argv)
    model: Model = load_section(given.params, ["models", given.model], Model)
    train(given.model, model, given.data, given.out, given.checkpoints)
    return 0
