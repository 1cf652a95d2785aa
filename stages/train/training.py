"""Train one model on the training part, and write what ships and how it went.

data/prepared (training and validation parts) -> model.keras  model.onnx  history.csv  fit.json
"""

import argparse
import csv
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from stages.base import timings
from stages.base.errors import InvalidInput, OutputError, ParamsError
from stages.base.files import replacing, write_json
from stages.base.suggestions import did_you_mean
from stages.model.config import Model
from stages.model.feasibility import misfits
from stages.params.schema import Params, load_params
from stages.samples.prepared import TrainingData, in_memory, read_training_data
from stages.train import fingerprint
from stages.train.checkpoints import FOLDER, Checkpoints, key_of, remove_old
from stages.train.device import Device, choose_precision, load_keras, set_up_device
from stages.train.early_stopping import best_epoch
from stages.train.export import onnx_subprocess
from stages.train.progress import Epoch, columns

OUTPUTS = ("model.keras", "model.onnx", "history.csv", "training.json")
COMPARED = 1000  # validation samples on which the export must agree with what was trained
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names


def train(name: str, model: Model, folder: Path, out: Path, saved: Path = FOLDER) -> None:
    """Train `model`, called `name`, on the data in `folder` and write all OUTPUTS to the folder `out`, or none.

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
    with ThreadPoolExecutor(1) as beside:
        digests = beside.submit(fingerprint.digests, folder)  # done long before Keras is loaded
        images = beside.submit(in_memory, data)
        load_keras()
        data = images.result()
    # These import Keras, which takes seconds: not before it is certain to be needed.
    from stages.train import fit, networks
    from stages.train.export import model_files
    from stages.train.test_time_augmentation import with_views
    from stages.train.training_model import training_network

    device = set_up_device(model.device, model.threads)
    precision = choose_precision(model, device)
    print(f"{name}: training on {device} in {precision}", flush=True)
    network = networks.build(model, data.prepared.shape, data.prepared.classes, POLICIES[precision])
    learner = training_network(network, model)  # the same weights
    fit.compile_network(learner, model, len(data.train.labels))
    key = key_of(fingerprint.facts(name, model, digests.result(), device, precision))
    checkpoints = Checkpoints(saved, name, key)
    remove_old(saved)
    history, fit_s = fit.fit(learner, data, name, model, checkpoints)
    print(f"{name}: fitted in {fit_s:.1f} s", flush=True)
    shipped = networks.build(model, data.prepared.shape, data.prepared.classes)
    shipped.set_weights(network.get_weights())
    if precision != "float32":
        model_files.check_rounding(network, shipped, data.validation.images[:COMPARED])
    if model.test_time_augmentation:
        shipped = with_views(shipped, model.test_time_augmentation)
    write(shipped, model, data, history, record(shipped, name, model, data, device, precision, history), out)
    timings.record("train", name, out / "model.onnx", {"fit_s": fit_s})
    checkpoints.remove()


def record(
    network: Any,
    name: str,
    model: Model,
    data: TrainingData,
    device: Device,
    precision: str,
    history: Sequence[Epoch],
) -> dict[str, Any]:
    """Content of fit.json: what was trained, with what, and how well what ships does, dropout off."""
    import keras  # slow: see train

    from stages.train.fit import score

    parts = {"train": data.train, "validation": data.validation}
    backend = keras.backend.backend()
    return {
        "model": name,
        "task": model.task,
        "network": model.network,
        "parameters": network.count_params(),
        "epochs": len(history),
        "kept_epoch": kept_epoch(model, history),
        "device": {"kind": device.kind, "name": device.name},
        "threads": device.threads,
        "precision": precision,
        "versions": {"keras": keras.__version__, "backend": f"{backend} {fingerprint.versions()[backend]}"},
        **{key: score(network, part, model, data.prepared.classes) for key, part in parts.items()},
        "samples": {key: len(part.labels) for key, part in parts.items()},
    }


def kept_epoch(model: Model, history: Sequence[Epoch]) -> int:
    """The epoch, from 1, after which the weights are those that were kept."""
    return best_epoch([epoch.val_loss for epoch in history]) + 1 if model.keep == "best" else len(history)


def write(
    network: Any,
    model: Model,
    data: TrainingData,
    history: Iterable[Epoch],
    facts: dict[str, Any],
    out: Path,
) -> None:
    """Write all OUTPUTS to the folder `out`, or none; the export must do what `network` does.

    Raises:
        InkflowError: the exported model does not do what the trained one does.
        OutputError: the folder is full, read-only, or not a folder.
    """
    import keras  # slow: see train

    from stages.train.export import model_files
    from stages.train.losses import metric_name

    images = data.validation.images[:COMPARED]
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(out / name)) for name in OUTPUTS}
        model_files.save_keras(network, paths["model.keras"])
        if keras.backend.backend() == "tensorflow":
            model_files.save_onnx(network, data.prepared, model, paths["model.onnx"])
        else:
            onnx_subprocess.save_onnx(paths["model.keras"], data.prepared, model, paths["model.onnx"])
        model_files.check_agreement(network, paths["model.onnx"], images, data.prepared, model)
        write_history(paths["history.csv"], history, metric_name(model))
        write_json(paths["training.json"], facts)


def write_history(path: Path, history: Iterable[Epoch], metric: str) -> None:
    """Write one line an epoch; `metric` is the name of what was watched beside the loss."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns(metric))
        lines.writerows(history)


def chosen_model(params: Params, name: str, path: str) -> Model:
    """The model that `name` names in the params read from `path`.

    Raises:
        ParamsError: there is none.
    """
    if name in params.models:
        return params.models[name]
    hint = did_you_mean(name, params.models)
    raise ParamsError(path, [f"models: has no model {name!r}; {hint}known: {', '.join(params.models)}"])


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
    model = chosen_model(load_params(given.params), given.model, given.params)
    train(given.model, model, given.data, given.out, given.checkpoints)
    return 0
